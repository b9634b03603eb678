"""What a file says of its signers, before there is a trust file: good, altered content, altered signature, too weak, without certificate."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from kit.archives import anchors, jarsigner, with_member, zipped
from kit.certs import made, resigned
from kit.efi import CODE, GRUB_OF_DEBIAN, SHIM, sbverify, tiny
from kit.foreign import rsa_key, sign_by_openssl, write_pem
from kit.inside import sign_inside
from kit.kernel import MODULE
from kit.modules import INFO, tiny_module
from kit.openssl import cms_verify, run
from kit.pki import NOW, Pki, p7s, token
from kit.signedfiles import MAKERS, format_of
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.formats.format import Extent, Search
from sealwright.formats.kmod import MARK
from sealwright.formats.registry import find
from sealwright.plant.signers import FileSeen, State, look

PKI = Pki.make()
SIGNER = PKI.leaf("release")
TSA = PKI.tsa()
WITHOUT_CERTIFICATE = {"mcuboot", "fit", "kmod"}


def only(seen: FileSeen) -> tuple[State, str]:
    """State and subject of the one signature."""
    (one,) = seen.signatures
    assert one.state is seen.state
    return one.state, one.subject


def beside(folder: Path, data: bytes = b"firmware" * 50, **how: object) -> Path:
    """A file with its signature beside it."""
    path = folder / "drive.bin"
    path.write_bytes(data)
    path.with_name("drive.bin.p7s").write_bytes(p7s(SIGNER, data, **how))  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("name", MAKERS)
def test_each_format_says_who_signed_it_without_a_trust_file(name: str, tmp_path: Path) -> None:
    seen = look(str(MAKERS[name](tmp_path)))
    (one,) = seen.signatures
    assert one.format == format_of(name)
    if one.format in WITHOUT_CERTIFICATE:
        assert (one.state, one.signer) == (State.BARE, None)
        assert one.called
        return
    assert one.state is State.INTACT
    assert one.subject.endswith(",O=ACME")
    assert [certificate.subject for certificate in one.chain][1:] == ["CN=ACME CA,O=ACME"]
    assert one.issuer == "CN=ACME CA,O=ACME"
    assert one.signer is not None
    assert one.signer.key is not None


@pytest.mark.parametrize("name", MAKERS)
def test_one_changed_byte_of_the_content_is_never_intact(name: str, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path)
    data = bytearray(path.read_bytes())
    good = look(str(path))
    for at in range(0, len(data), max(1, len(data) // 60)):
        changed = bytearray(data)
        changed[at] ^= 1
        path.write_bytes(changed)
        seen = look(str(path))
        # kernel modules give no digest of their own; what nothing signs (a checksum, a filling) may differ
        if seen.state in (State.INTACT, State.BARE) and format_of(name) not in ("kmod", "pe"):
            assert _is_uncovered(good, path, at), f"{name}: byte {at}"


def _is_uncovered(good: FileSeen, path: Path, at: int) -> bool:
    found = find(str(path), Search())
    part = next(one for one in found.candidates[0].coverage.ranges if one.start <= at < one.end)
    return part.extent is not Extent.HASHED or good.signatures[0].format in WITHOUT_CERTIFICATE


def test_what_a_real_distribution_and_microsoft_signed_is_named() -> None:
    shim, grub, module = (look(str(one)) for one in (SHIM.source, GRUB_OF_DEBIAN.source, MODULE))
    assert [one.state for one in shim.signatures] == [State.INTACT, State.INTACT]
    assert "Microsoft Windows UEFI Driver Publisher" in shim.signatures[0].subject
    assert "UEFI CA 2011" in shim.signatures[0].issuer
    assert shim.signatures[0].stamp is not None
    assert "Microsoft Time-Stamp Service" in shim.signatures[0].stamp.authority
    assert shim.signatures[0].claims.product == "shim.debian"
    assert only(grub) == (State.INTACT, "CN=Debian Secure Boot Signer 2022 - grub2")
    assert grub.signatures[0].stamp is None
    state, called = only(module)
    assert state is State.BARE
    assert called.startswith("serial ")


def test_a_real_bootloader_with_one_changed_byte_is_broken(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(GRUB_OF_DEBIAN.source, tmp_path / "grub.efi"))
    assert look(str(path)).state is State.INTACT
    data = bytearray(path.read_bytes())
    data[100_000] ^= 1
    path.write_bytes(data)
    seen = look(str(path))
    assert only(seen) == (State.BROKEN, "CN=Debian Secure Boot Signer 2022 - grub2")
    assert [one.code for one in seen.signatures[0].why] == ["SW-FILE-CHANGED"]


def test_a_signature_beside_is_intact_with_its_timestamp_and_broken_when_file_or_value_changes(tmp_path: Path) -> None:
    path = beside(tmp_path, tsa=TSA)
    seen = look(str(path))
    assert only(seen) == (State.INTACT, "CN=release,O=ACME")
    (one,) = seen.signatures
    assert one.stamp is not None
    assert (one.stamp.authority, one.stamp.time) == ("CN=timestamps,O=ACME", NOW)
    assert one.not_after == SIGNER.x509.not_valid_after_utc

    signature = path.with_name("drive.bin.p7s")
    good = signature.read_bytes()
    path.write_bytes(b"Firmware" + b"firmware" * 49)
    assert [one.code for one in look(str(path)).signatures[0].why] == ["SW-FILE-CHANGED"]
    assert look(str(path)).signatures[0].claims == seen.signatures[0].claims
    path.write_bytes(b"firmware" * 50)
    (signer,) = read_envelope(good, Profile.OURS, "drive.bin.p7s").signers
    assert isinstance(signer, Signer)
    at, value = good.index(signer.signature) + 12, bytearray(good)
    value[at] ^= 1
    signature.write_bytes(value)
    (altered,) = look(str(path)).signatures
    assert (altered.state, [one.code for one in altered.why]) == (State.BROKEN, ["SW-SIGNATURE-INVALID"])
    signature.write_bytes(b"not a signature")
    assert only(look(str(path))) == (State.UNREADABLE, "")
    signature.unlink()
    assert look(str(path)).state is State.UNSIGNED


def test_sha1_md5_and_short_rsa_are_weak_and_say_whose_they_are(tmp_path: Path) -> None:
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware")
    root = made("old root", ca=True)
    for name, leaf, digest in (
        ("good", made("good vendor", root, key=rsa_key(2048)), "sha256"),
        ("sha1", made("sha1 vendor", root, key=rsa_key(2048)), "sha1"),
        ("md5", made("md5 vendor", root, key=rsa_key(2048)), "md5"),
        ("short", made("short vendor", root, key=rsa_key(1024)), "sha256"),
    ):
        sign_by_openssl(path, leaf, digest)
        seen = look(str(path))
        wanted = State.INTACT if name == "good" else State.WEAK
        assert only(seen) == (wanted, f"CN={name} vendor"), name
        assert bool(seen.signatures[0].weakness) is (name != "good")


def test_a_certificate_that_was_itself_signed_with_sha1_is_weak(tmp_path: Path) -> None:
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware")
    root = made("root", ca=True, key=rsa_key(2048))
    good = made("vendor", root, key=rsa_key(2048))
    sign_by_openssl(path, good, "sha256", root)
    assert only(look(str(path))) == (State.INTACT, "CN=vendor")
    old = resigned(good, root.key, hashes.SHA1())  # noqa: S303
    sign_by_openssl(path, old, "sha256", root)
    seen = look(str(path))
    assert only(seen) == (State.WEAK, "CN=vendor")
    assert "sha1" in seen.signatures[0].weakness


def test_an_authenticode_signature_with_sha1_is_weak_and_named(tmp_path: Path) -> None:
    plain, leaf = tmp_path / "tool.exe", made("old tools", key=rsa_key(2048))
    plain.write_bytes(tiny())
    write_pem(tmp_path, leaf)
    for digest, wanted in (("sha256", State.INTACT), ("sha1", State.WEAK)):
        out = tmp_path / f"{digest}.exe"
        command = ["osslsigncode", "sign", "-certs", "leaf.pem", "-key", "leaf.key", "-h", digest, "-in", plain]
        accepted, words = run([*command, "-out", out], cwd=tmp_path)
        assert accepted, words
        assert only(look(str(out))) == (wanted, "CN=old tools"), words


def test_of_two_authenticode_signatures_the_weak_one_is_told_and_the_newer_one_counts(tmp_path: Path) -> None:
    plain, old, both, leaf = (
        tmp_path / "tool.exe",
        tmp_path / "old.exe",
        tmp_path / "both.exe",
        made("tools", key=rsa_key(2048)),
    )
    plain.write_bytes(tiny())
    write_pem(tmp_path, leaf)
    command = ["osslsigncode", "sign", "-certs", "leaf.pem", "-key", "leaf.key"]
    for words in (["-h", "sha1", "-in", plain, "-out", old], ["-h", "sha256", "-nest", "-in", old, "-out", both]):
        accepted, said = run([*command, *words], cwd=tmp_path)
        assert accepted, said
    assert look(str(old)).state is State.WEAK
    seen = look(str(both))
    assert seen.state is State.INTACT
    assert [(one.state, one.subject) for one in seen.signatures] == [
        (State.WEAK, "CN=tools"),
        (State.INTACT, "CN=tools"),
    ]
    data = bytearray(both.read_bytes())
    data[data.index(CODE) + 3] ^= 1
    both.write_bytes(data)
    assert look(str(both)).signatures[1].state is State.BROKEN


def test_a_bare_image_whose_own_digest_does_not_fit_is_broken(tmp_path: Path) -> None:
    path = MAKERS["mcuboot"](tmp_path)
    assert look(str(path)).state is State.BARE
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    assert only(look(str(path)))[0] is State.BROKEN


def test_names_in_certificates_reach_nobody_raw(tmp_path: Path) -> None:
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware")
    sign_by_openssl(path, made("evil\x1b[2J\u202evendor", key=rsa_key(2048)), "sha256")
    state, subject = only(look(str(path)))
    assert state is State.INTACT
    assert subject.isprintable()
    assert "\\x1b" in subject


def test_what_cannot_be_read_is_said_and_nothing_blocks(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path / "gone", Path("/dev/null")):
        seen = look(str(path))
        assert (seen.state, [one.code for one in seen.why]) == (State.UNREADABLE, ["SW-FILE-UNREADABLE"])


def test_a_timestamp_over_another_signature_proves_nothing(tmp_path: Path) -> None:
    path = beside(tmp_path, tsa=TSA)
    (good,) = look(str(path)).signatures
    assert good.stamp is not None
    path.with_name("drive.bin.p7s").write_bytes(p7s(SIGNER, path.read_bytes()))
    path.with_name("drive.bin.tsr").write_bytes(token(TSA, b"another signature"))
    (one,) = look(str(path)).signatures
    assert one.state is State.INTACT
    assert one.stamp is None
    assert [stamp.problem for stamp in one.stamps] == ["it was made for another signature"]


def test_an_old_kernel_module_signed_with_sha1_is_weak_and_calls_its_signer(tmp_path: Path) -> None:
    plain, leaf = tmp_path / "old.ko", made("kernel key", key=rsa_key(2048))
    plain.write_bytes(tiny_module())
    write_pem(tmp_path, leaf)
    for digest, wanted in (("sha256", State.BARE), ("sha1", State.WEAK)):
        command = [
            "openssl",
            "cms",
            "-sign",
            "-binary",
            "-noattr",
            "-nocerts",
            "-nosmimecap",
            "-md",
            digest,
            "-in",
            str(plain),
        ]
        accepted, words = run(
            [*command, "-signer", "leaf.pem", "-inkey", "leaf.key", "-outform", "DER", "-out", "cms"], cwd=tmp_path
        )
        assert accepted, words
        cms = (tmp_path / "cms").read_bytes()
        path = tmp_path / f"{digest}.ko"
        path.write_bytes(tiny_module() + cms + INFO.pack(0, 0, 2, 0, 0, bytes(3), len(cms)) + MARK)
        state, called = only(look(str(path)))
        assert state is wanted
        assert called.endswith(" of CN=kernel key")


def test_an_xml_signature_with_sha1_is_weak(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.xml", tmp_path / "signed.xml"
    plain.write_bytes(b"<recipe><oven>230</oven></recipe>")
    sign_inside(plain, SIGNER, path, "xmldsig")
    assert only(look(str(path))) == (State.INTACT, "CN=release,O=ACME")
    sha256, sha1 = b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1"
    assert sha256 in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(sha256, sha1))
    assert look(str(path)).state is State.WEAK


def test_openssl_sbverify_and_jarsigner_agree_on_what_is_intact(tmp_path: Path) -> None:
    """Good, altered content, altered signature; the makers' certificates are given to the other programs as anchors."""
    roots = tmp_path / "roots.pem"
    roots.write_text(PKI.root.pem + PKI.intermediate.pem)
    drive = beside(tmp_path)
    signature = drive.with_name("drive.bin.p7s")
    kept = signature.read_bytes()

    def both() -> tuple[bool, bool]:
        return look(str(drive)).state is State.INTACT, cms_verify(signature, drive, roots)[0]

    assert both() == (True, True)
    drive.write_bytes(b"Firmware" + b"firmware" * 49)
    assert both() == (False, False)
    drive.write_bytes(b"firmware" * 50)
    (signer,) = read_envelope(kept, Profile.OURS, "drive.bin.p7s").signers
    assert isinstance(signer, Signer)
    signature.write_bytes(kept.replace(signer.signature, signer.signature[:-1] + bytes((signer.signature[-1] ^ 1,))))
    assert both() == (False, False)

    grub = Path(shutil.copyfile(GRUB_OF_DEBIAN.source, tmp_path / "grub.efi"))
    (seen,) = look(str(grub)).signatures
    certificate = tmp_path / "debian.pem"
    certificate.write_bytes(x509.load_der_x509_certificate(seen.chain[0].der).public_bytes(Encoding.PEM))
    assert sbverify(grub, certificate)[0]
    data = bytearray(grub.read_bytes())
    data[100_000] ^= 1
    grub.write_bytes(data)
    assert (look(str(grub)).state, sbverify(grub, certificate)[0]) == (State.BROKEN, False)

    updates = Pki.make()
    plain = zipped(tmp_path / "plain.jar")
    jar = sign_inside(plain, updates.leaf("updates"), tmp_path / "signed.jar", "jar")
    store = anchors(tmp_path, updates)
    assert (look(str(jar)).state, jarsigner(jar, store)[0]) == (State.INTACT, True)
    other = with_member(jar, "fw.bin", b"other", tmp_path / "altered.jar")
    assert (look(str(other)).state, jarsigner(other, store)[0]) == (State.BROKEN, False)
