"""The rows of the table of real verifiers: how an artifact of each format is made, judged by the real program, and altered.

A new format gets one `Row` in `ROWS`: `make` leaves an unsigned artifact in an empty folder, the command line signs it there,
`judge` is the real verifier, which knows that maker and no other, and the two alterations change a copy where it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kit.alter import (
    Alteration,
    at,
    behind,
    content_of_package,
    end_of,
    member_of_archive,
    member_of_update,
    value_beside,
    value_in_archive,
    value_in_script,
    value_in_sector,
    value_in_update,
    value_in_variable,
    value_inside,
    within,
)
from kit.archives import jarsigner, key_store, zipped
from kit.boards import FIRMWARE, esp_image, espsecure, imgtool
from kit.cabinets import gcab
from kit.efi import PROGRAMS, osslsigncode, sbverify
from kit.house import Maker
from kit.layouts import DRIVE, PAYLOAD, drive_image
from kit.modules import as_the_kernel, compiled_module
from kit.openssl import cms_verify, run, sums
from kit.packages import wixl
from kit.pki import Pki
from kit.powershell import FILES as SCRIPTS
from kit.samples import project
from kit.uboot import KERNEL, compiled, fit, fit_check_sign
from kit.updates import IMAGE, archive, bundle, bundle_judged, swupdate, updater
from kit.xmldocs import FILES as DOCUMENTS
from sealwright.cli.main import main
from sealwright.envelope.bare import content_info
from sealwright.formats.efi_variable import read_update
from sealwright.keys.key import KeyKind

EC = (KeyKind.P256, KeyKind.P384)
RSA = (KeyKind.RSA3072,)
PSS = (KeyKind.RSA3072_PSS,)
ED25519 = (KeyKind.ED25519,)
CONTENT = b"firmware of drive 7\n" * 100


class Signs(Protocol):
    """Signs what `make` left; the signed artifact."""

    def __call__(self, plain: Path, maker: Maker) -> Path: ...


def inside(form: str, *options: str) -> Signs:
    """`sealwright sign --format`."""

    def signs(plain: Path, maker: Maker) -> Path:
        signed = plain.with_name(f"signed{plain.suffix}")
        words = ["sign", str(plain), "--home", str(maker.house.home), "--key", maker.name, *maker.house.pin]
        assert main([*words, "--format", form, "--out", str(signed), *options]) == 0
        return signed

    return signs


def beside(plain: Path, maker: Maker) -> Path:
    """`sealwright sign`."""
    assert main(["sign", str(plain), "--home", str(maker.house.home), "--key", maker.name, *maker.house.pin]) == 0
    return plain


def as_variable(plain: Path, maker: Maker) -> Path:
    """`sealwright secure-boot sign`, as an update of db."""
    out = plain.with_name("db.auth")
    words = [
        "secure-boot",
        "sign",
        str(plain),
        "--variable",
        "db",
        "--home",
        str(maker.house.home),
        "--key",
        maker.name,
    ]
    assert main([*words, "--out", str(out), *maker.house.pin]) == 0
    return out


def by_layout(plain: Path, maker: Maker) -> Path:
    """`sealwright sign --layout`."""
    layout, signed = plain.with_name("acme.layout"), plain.with_name("signed.bin")
    layout.write_text(DRIVE)
    words = ["sign", str(plain), "--home", str(maker.house.home), "--key", maker.name, *maker.house.pin]
    assert main([*words, "--layout", str(layout), "--out", str(signed)]) == 0
    return signed


@dataclass(frozen=True)
class Row:
    """format: its name in rules; verifier: the programs in `judge`, as the table names them; kinds: of keys they read.

    enrolled: the FORMAT of `key enrol`; judged_here: whether `sealwright verify` takes it too, and then it must agree.
    """

    format: str
    verifier: str
    kinds: tuple[KeyKind, ...]
    make: Callable[[Path], Path]
    judge: Callable[[Path, Maker], tuple[bool, str]]
    content: Alteration
    signs: Signs
    signature: Alteration = value_inside
    enrolled: str = ""
    judged_here: bool = True

    @property
    def key_format(self) -> str:
        """What the key is enrolled for."""
        return self.enrolled or self.format


def written(name: str, data: bytes) -> Callable[[Path], Path]:
    """Makes a file of these bytes."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def judge_file(path: Path, maker: Maker) -> tuple[bool, str]:
    return cms_verify(path.with_name(path.name + ".p7s"), path, maker.root_pem)


def judge_tree(path: Path, maker: Maker) -> tuple[bool, str]:
    manifest = path.with_name(path.name + ".manifest")
    accepted, words = cms_verify(manifest.with_name(manifest.name + ".p7s"), manifest, maker.root_pem)
    return sums(manifest, path, 384 if KeyKind.P384 in maker.name else 256) if accepted else (accepted, words)


def alter_tree(path: Path, maker: Maker) -> None:
    within(b"rye;230")(path / "recipes" / "Bäckerei rye.csv", maker)


def judge_program(path: Path, maker: Maker) -> tuple[bool, str]:
    """sbverify says nothing of who signed; osslsigncode does."""
    accepted, words = sbverify(path, maker.root_pem)
    return judge_script(path, maker) if accepted else (accepted, words)


def judge_script(path: Path, maker: Maker) -> tuple[bool, str]:
    return osslsigncode(path, maker.root_pem, datetime.now(UTC))


def judge_board(path: Path, maker: Maker) -> tuple[bool, str]:
    return imgtool("verify", "-k", maker.public_pem, path)


def judge_fit(path: Path, maker: Maker) -> tuple[bool, str]:
    """`sealwright key control-tree` puts the key into the tree that is built into U-Boot."""
    folder = maker.house.folder
    tree = folder / f"{maker.name}.dtb"
    if not tree.exists():
        plain = compiled(folder, '/ { model = "u-boot"; };', f"plain-{maker.name}")
        words = ["key", "control-tree", str(plain), "--home", str(maker.house.home), "--key", maker.name]
        assert main([*words, "--out", str(tree)]) == 0
    return fit_check_sign(path, tree)


def judge_update(path: Path, maker: Maker) -> tuple[bool, str]:
    return swupdate(path, maker.keyring_pem)


def judge_bundle(path: Path, maker: Maker) -> tuple[bool, str]:
    return bundle_judged(path, maker.root_pem)


def judge_archive(path: Path, maker: Maker) -> tuple[bool, str]:
    """The key store holds the certificate above the signer's: -strict wants one of its path."""
    store = key_store(path.with_name("trusted.p12"), maker.certificates[1:])
    return jarsigner(path, store, at=None)


def judge_module(path: Path, maker: Maker) -> tuple[bool, str]:
    return as_the_kernel(path, maker.certificate_pem, path.parent)


def make_list(folder: Path) -> Path:
    path = folder / "db.esl"
    program = PROGRAMS[0].copy_to(folder)
    words = ["secure-boot", "list", "--hash", str(program), "--owner", "plant.example", "--out", str(path)]
    assert main(words) == 0
    return path


def judge_variable(path: Path, maker: Maker) -> tuple[bool, str]:
    """What efitools would have had signed for this content, and OpenSSL on the signature over it."""
    folder, update = path.parent, read_update(path.read_bytes(), path.name)
    (folder / "held.esl").write_bytes(update.data)
    (folder / "cms").write_bytes(content_info(update.signature))
    when = f"{update.time:%Y-%m-%d %H:%M:%S}"
    made, words = run(
        ["sign-efi-sig-list", "-t", when, "-o", "db", folder / "held.esl", folder / "content"],
        environment={"TZ": "UTC", "PATH": "/usr/bin"},
    )
    assert made, words
    return run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", folder / "cms", "-content", folder / "content", "-binary",
         "-CAfile", maker.certificate_pem, "-partial_chain", "-purpose", "any", "-no_check_time", "-out", "/dev/null"]
    )  # fmt: skip


def judge_image(path: Path, maker: Maker) -> tuple[bool, str]:
    """The signature over the root hash, then every block against it, as the kernel does."""
    root, signature = (path.with_name(path.name + ending) for ending in (".roothash", ".roothash.p7s"))
    accepted, words = run(
        ["openssl", "smime", "-verify", "-inform", "der", "-in", signature, "-content", root, "-binary",
         "-certfile", maker.certificate_pem, "-nointern", "-noverify", "-out", "/dev/null"]
    )  # fmt: skip
    if not accepted:
        return accepted, words
    return run(
        ["/sbin/veritysetup", "verify", path, path, root.read_text().strip(), f"--hash-offset={len(IMAGE_BLOCKS)}"]
    )


def judge_sealed_file(path: Path, maker: Maker) -> tuple[bool, str]:
    """The digest by fsverity, then OpenSSL on the signature over it, as the kernel does."""
    made, words = run(["fsverity", "digest", path, "--for-builtin-sig", "--compact"])
    assert made, words
    content = path.with_name("digest")
    content.write_bytes(bytes.fromhex(words))
    return run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", f"{path}.fsverity.p7s", "-content", content, "-binary",
         "-CAfile", maker.certificate_pem, "-certfile", maker.certificate_pem, "-purpose", "any", "-partial_chain",
         "-no_check_time", "-out", "/dev/null"]
    )  # fmt: skip


def judge_appraised_file(path: Path, maker: Maker) -> tuple[bool, str]:
    return run(["evmctl", "ima_verify", "--sigfile", "-k", maker.certificate_der, path])


def judge_chip(path: Path, maker: Maker) -> tuple[bool, str]:
    return espsecure("verify-signature", "--version", "2", "--keyfile", maker.public_pem, path)


def judge_document(path: Path, maker: Maker) -> tuple[bool, str]:
    return run(["xmlsec1", "--verify", "--enabled-key-data", "x509", "--trusted-pem", maker.root_pem, path])


def judge_file_of_document(path: Path, maker: Maker) -> tuple[bool, str]:
    """The signature names the file, which xmlsec1 opens where it is run."""
    return run(
        ["xmlsec1", "--verify", "--enabled-key-data", "x509", "--trusted-pem", maker.root_pem, f"{path.name}.xmldsig"],
        path.parent,
    )


def judge_drive(path: Path, maker: Maker) -> tuple[bool, str]:
    """The layout's r and s cut out at its offsets; OpenSSL on everything else."""
    data = path.read_bytes()
    value, content = path.with_name("value"), path.with_name("content")
    value.write_bytes(encode_dss_signature(*(int.from_bytes(data[start : start + 32], "big") for start in (64, 96))))
    content.write_bytes(data[:64] + data[128:])
    return run(["openssl", "dgst", "-sha256", "-verify", maker.public_pem, "-signature", value, content])


IMAGE_BLOCKS = CONTENT.ljust(4096) * 150
ROWS = (
    Row(
        "detached",
        "openssl cms",
        EC + RSA + PSS,
        make=written("drive.bin", CONTENT),
        signs=beside,
        judge=judge_file,
        content=at(200),
        signature=value_beside(".p7s"),
        enrolled="jar",
    ),
    Row(
        "manifest",
        "openssl cms, sha256sum or sha384sum",
        EC + RSA + PSS,
        make=project,
        signs=beside,
        judge=judge_tree,
        content=alter_tree,
        signature=value_beside(".manifest.p7s"),
        enrolled="jar",
    ),
    Row(
        "pe",
        "sbverify, osslsigncode",
        (KeyKind.P256, *RSA),  # sbverify reads no digest but SHA-256
        make=PROGRAMS[0].copy_to,
        signs=inside("pe"),
        judge=judge_program,
        content=at(0x2000),
    ),
    Row(
        "uefi-variable",
        "sign-efi-sig-list, openssl cms",
        RSA,
        make=make_list,
        signs=as_variable,
        judge=judge_variable,
        content=at(-5),
        signature=value_in_variable,
        judged_here=False,
    ),
    Row(
        "powershell",
        "osslsigncode",
        EC + RSA,
        make=written("plain.ps1", SCRIPTS["crlf.ps1"]),
        signs=inside("powershell"),
        judge=judge_script,
        content=within(b"Write-Host"),
        signature=value_in_script,
    ),
    Row(
        "jar",
        "jarsigner",
        EC + RSA,
        make=lambda folder: zipped(folder / "plain.jar"),
        signs=inside("jar"),
        judge=judge_archive,
        content=member_of_archive("fw.bin", b"other"),
        signature=value_in_archive,
    ),
    Row(
        "kmod",
        "openssl cms, by the kernel's rules",
        EC + RSA,
        make=compiled_module,
        signs=inside("kmod"),
        judge=judge_module,
        content=at(0x40),
    ),
    Row(
        "mcuboot",
        "imgtool",
        EC + PSS + ED25519,
        make=written("firmware.bin", FIRMWARE),
        signs=inside("mcuboot", "--version", "1.2.3"),
        judge=judge_board,
        content=within(FIRMWARE),
    ),
    Row(
        "fit",
        "fit_check_sign",
        RSA + PSS,
        make=fit,
        signs=inside("fit"),
        judge=judge_fit,
        content=within(KERNEL),
    ),
    Row(
        "rauc",
        "rauc, veritysetup",
        EC + RSA + PSS,
        make=lambda folder: bundle(folder, updater(Pki.make())),
        signs=inside("rauc", "--replace"),
        judge=judge_bundle,
        content=at(5000),
    ),
    Row(
        "swupdate",
        "swupdate",
        EC + RSA + PSS,
        make=archive,
        signs=inside("swupdate"),
        judge=judge_update,
        content=member_of_update("fw.bin", IMAGE[::-1]),
        signature=value_in_update,
    ),
    Row(
        "msi",
        "osslsigncode",
        EC + RSA,
        make=wixl,
        signs=inside("msi"),
        judge=judge_script,
        content=content_of_package,
    ),
    Row(
        "cab",
        "osslsigncode",
        EC + RSA,
        make=gcab,
        signs=inside("cab"),
        judge=judge_script,
        content=at(200),
    ),
    Row(
        "verity",
        "openssl smime, veritysetup",
        EC + RSA,
        make=written("plain.img", IMAGE_BLOCKS),
        signs=inside("verity"),
        judge=judge_image,
        content=at(5000),
        signature=end_of(".roothash.p7s"),
    ),
    Row(
        "fsverity",
        "fsverity digest, openssl cms",
        EC + RSA,
        make=written("plain.bin", CONTENT),
        signs=inside("fsverity"),
        judge=judge_sealed_file,
        content=at(200),
        signature=end_of(".fsverity.p7s"),
    ),
    Row(
        "ima",
        "evmctl",
        EC + RSA,
        make=written("plain.bin", CONTENT),
        signs=inside("ima"),
        judge=judge_appraised_file,
        content=at(200),
        signature=end_of(".sig"),
    ),
    Row(
        "esp32",
        "espsecure",
        PSS + EC,
        make=lambda folder: esp_image(folder, secure_pad=True),
        signs=inside("esp32"),
        judge=judge_chip,
        content=within(FIRMWARE[:100]),
        signature=value_in_sector,
    ),
    Row(
        "layout",
        "openssl dgst, on bytes cut out",
        (KeyKind.P256,),
        make=written("drive.bin", drive_image()),
        signs=by_layout,
        judge=judge_drive,
        content=within(PAYLOAD),
        signature=at(100),
        judged_here=False,
    ),
    Row(
        "xmldsig-detached",
        "xmlsec1, in the folder",
        EC + RSA,
        make=written("plain.bin", CONTENT),
        signs=inside("xmldsig-detached"),
        judge=judge_file_of_document,
        content=at(200),
        signature=behind(b"<SignatureValue>", 30, ".xmldsig"),
        enrolled="xmldsig",
    ),
    Row(
        "xmldsig",
        "xmlsec1",
        EC + RSA,
        make=written("pump.xml", DOCUMENTS["pump.xml"]),
        signs=inside("xmldsig"),
        judge=judge_document,
        content=within(b"level < 80"),
        signature=behind(b"<SignatureValue>", 30),
    ),
)
