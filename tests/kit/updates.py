"""Update bundles of embedded Linux, and the updaters that check them on the device."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.network import without_network
from kit.openssl import run
from kit.pki import Pki, Signer
from sealwright.artifact.source import open_artifact
from sealwright.formats.cpio import read_archive
from sealwright.formats.rauc import read_bundle
from sealwright.pki.profiles import UPDATE_SIGNER

DESCRIPTION = """software =
{
    version = "2026.1"; // of the whole update
    hardware-compatibility: [ "1.0", "1.2" ];
    files: ( { filename = "fw.bin"; path = "fw.bin"; sha256 = "%s"; } );
}
"""
RAW = """software =
{
    version = "%s";
    hardware-compatibility: [ "1.0" ];
    images: ( { filename = "fw.bin"; type = "raw"; device = "%s"; sha256 = "%s"; } );
}
"""
IMAGE = random.Random(2026).randbytes(51_200)
MAX_TRIES = 20
SECONDS = 20


def updater(pki: Pki, **how: object) -> Signer:
    """A signer that both updaters take without being configured."""
    return pki.leaf("updates", profile=UPDATE_SIGNER, **how)  # type: ignore[arg-type]


def key_files(folder: Path, signer: Signer) -> list[str]:
    """The signer's certificate, path and key as RAUC's options."""
    (folder / "cert").write_text(signer.pem)
    above = (x509.load_der_x509_certificate(der) for der in signer.chain)
    (folder / "intermediate").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in above))
    key = signer.key._private
    assert key is not None
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return [f"--{name}={folder / name}" for name in ("cert", "intermediate", "key")]


def bundle(folder: Path, signer: Signer, form: str = "verity", image: bytes = IMAGE) -> Path:
    """A bundle that RAUC made and signed. Its input folder is made anew: RAUC writes into it."""
    content = folder / f"content-{form}"
    content.mkdir(parents=True)
    (content / "rootfs.img").write_bytes(image)
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible=acme-plc\nversion=2026.1\n\n[bundle]\nformat={form}\n\n[image.rootfs]\nfilename=rootfs.img\n"
    )
    path = folder / f"{form}.raucb"
    made, words = run(["rauc", *key_files(folder, signer), "bundle", content, path])
    assert made, words
    return path


def rauc_info(path: Path, keyring: Path, configuration: str = "") -> tuple[bool, str]:
    """`rauc info`: the signature, and the payload of a plain bundle; never that of a verity bundle. configuration: a system.conf."""
    options: list[str | Path] = [f"--keyring={keyring}"]
    if configuration:
        conf = path.parent / "system.conf"
        conf.write_text(
            f"[system]\ncompatible=acme-plc\nbootloader=noop\n\n[keyring]\npath={keyring}\n{configuration}\n"
        )
        options = [f"--conf={conf}"]
    return run(["rauc", *options, "info", "--no-check-time", path])


def veritysetup(path: Path) -> tuple[bool, str]:
    """`veritysetup verify` of a verity bundle's payload against the root in its manifest, as the kernel does when it mounts it."""
    with open_artifact(str(path)) as source:
        found = read_bundle(source)
        verity = found.verity
        assert verity is not None
        payload = path.parent / "payload"
        payload.write_bytes(source.read_at(0, found.payload_end))
    return run(
        ["/sbin/veritysetup", "verify", payload, payload, verity.root.hex(), "--no-superblock",
         f"--hash-offset={verity.data_bytes}", f"--salt={verity.salt.hex()}", f"--data-blocks={verity.data_bytes // 4096}",
         "--data-block-size=4096", "--hash-block-size=4096", "--hash=sha256", "--format=1"]
    )  # fmt: skip


def bundle_judged(path: Path, keyring: Path) -> tuple[bool, str]:
    """RAUC's word on the signature and, where it trusts that, the kernel's on the payload of a verity bundle."""
    accepted, words = rauc_info(path, keyring)
    return veritysetup(path) if accepted else (accepted, words)


def description(image: bytes = IMAGE) -> bytes:
    """A sw-description for the one file `fw.bin`."""
    return (DESCRIPTION % hashlib.sha256(image).hexdigest()).encode()


def archive(
    folder: Path,
    signer: Signer | None = None,
    files: dict[str, bytes] | None = None,
    form: str = "crc",
    name: str = "made",
) -> Path:
    """A SWUpdate archive as its documentation has it made: OpenSSL signs where a signer is given, cpio packs."""
    content = folder / f"{name}.content"
    content.mkdir(parents=True)
    members = {"sw-description": description(), "fw.bin": IMAGE} if files is None else files
    order = list(members)
    for member, data in members.items():
        (content / member).write_bytes(data)
    if signer is not None:
        options = [option.partition("=")[2] for option in key_files(folder, signer)]
        made, words = run(
            ["openssl", "cms", "-sign", "-in", content / "sw-description", "-out", content / "sw-description.sig",
             "-signer", options[0], "-certfile", options[1], "-inkey", options[2], "-outform", "DER", "-nosmimecap",
             "-binary", "-md", "sha256"]
        )  # fmt: skip
        assert made, words
        order.insert(1, "sw-description.sig")
    return packed(content, order, folder / f"{name}.swu", form)


def ring(path: Path, makers: Pki) -> Path:
    """Anchor and intermediate: Debian's swupdate looks for the path in this file alone."""
    path.write_text(makers.root.pem + makers.intermediate.pem)
    return path


def swu(folder: Path, makers: Pki, version: str, image: bytes, device: Path) -> Path:
    """A signed archive that writes an image raw, as SWUpdate's documentation has it made."""
    folder.mkdir(parents=True)
    (folder / "fw.bin").write_bytes(image)
    (folder / "sw-description").write_text(RAW % (version, device, hashlib.sha256(image).hexdigest()))
    options = [option.partition("=")[2] for option in key_files(folder, updater(makers))]
    made, words = run(
        ["openssl", "cms", "-sign", "-in", folder / "sw-description", "-out", folder / "sw-description.sig",
         "-signer", options[0], "-certfile", options[1], "-inkey", options[2], "-outform", "DER", "-nosmimecap",
         "-binary", "-md", "sha256"]
    )  # fmt: skip
    assert made, words
    return packed(folder, ["sw-description", "sw-description.sig", "fw.bin"], folder.with_suffix(".swu"))


def packed(content: Path, order: list[str], path: Path, form: str = "crc") -> Path:
    """The files of a folder in that order, in a cpio."""
    with path.open("wb") as out:
        listing = "".join(f"{member}\n" for member in order).encode()
        subprocess.run(
            ["cpio", "--quiet", "-o", "-H", form, "-L"], cwd=content, input=listing, stdout=out, check=True, timeout=60
        )
    return path


def members_of(path: Path) -> dict[str, bytes]:
    """The files of an archive, in its order."""
    with open_artifact(str(path)) as source:
        return {one.name: source.read_at(one.data, one.size) for one in read_archive(source).members}


def repacked(path: Path, folder: Path, changed: Mapping[str, bytes]) -> Path:
    """The same archive with other bytes in some of its files, and the checksums made anew."""
    content = folder / "again"
    content.mkdir()
    members = members_of(path) | changed
    for name, data in members.items():
        (content / name).write_bytes(data)
    return packed(content, list(members), folder / "again.swu")


def swupdate(path: Path, keyring: Path, *options: str) -> tuple[bool, str]:
    """`swupdate -c`: everything is checked and nothing installed. Its sockets get a place of their own, with a short name.

    Only its installer's words count. Exit status and `SWUpdate was successful` are those of a client thread, which polls for the
    end and takes an installer that has not begun yet for one that is done; then the process takes the installer's files away and
    leaves, or waits for itself for ever. So it is asked again until the installer was there to the end. Every swupdate hears the one
    socket `NotifyServer` of its network namespace, so each has one of its own, or they take turns.
    """
    words = ""
    for _ in range(MAX_TRIES):
        with tempfile.TemporaryDirectory(prefix="swu") as place:
            command = ["swupdate", "-v", "-c", "-k", str(keyring), "-i", str(path), "-H", "board:1.0", *options]
            with _turn():
                ended, words = _watched([*without_network(), *command], path.parent, Path(place))
        if not ended or "SWUpdate was successful" in words.partition("Main thread sleep again")[0]:
            continue
        if "[ERROR]" in words:
            return False, words
        if "Valid image found" in words and "SWUPDATE successful !" in words:
            return True, words
    raise AssertionError(f"the installer of swupdate did not come to an end in {MAX_TRIES} tries: {words}")


@contextmanager
def _turn() -> Iterator[None]:
    if without_network():
        yield
        return
    with open(os.path.join(tempfile.gettempdir(), f"swupdate-{os.getuid()}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _watched(command: list[str], folder: Path, place: Path) -> tuple[bool, str]:
    """Whether a program came to an end, and its words. What it leaves running is ended with it, and cannot hold its output open."""
    with (place / "words").open("w+b") as words:
        started = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"TMPDIR": str(place)},
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
        try:
            started.wait(SECONDS)
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        words.seek(0)
        return ended, words.read().decode(errors="replace")
