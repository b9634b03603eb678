"""Keys that were made elsewhere: every form of file, into a token, a TPM or a home, and what is told and recorded of them."""

from __future__ import annotations

import base64
import importlib.util
import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
    pkcs12,
    ssh,
)

from kit.openssl import cms_verify, run
from kit.pki import NOW, Pki
from kit.tokens import PIN, TOKEN, another_token, softhsm, tpm
from kit.trust import trust_bytes, trust_parts
from sealwright.artifact.digest import Digest
from sealwright.envelope.cms_write import to_be_signed
from sealwright.envelope.kinds import Construction
from sealwright.errors import KeyRefused, KeyUnavailable, SealwrightError, UsageError
from sealwright.keys.backends import destroy_key, import_key, open_key
from sealwright.keys.file import PrivateKey, generate
from sealwright.keys.key import KeyKind, Provenance
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11 import list_token_keys
from sealwright.keys.private import read_private_key
from sealwright.log.journal import EntryType, read_journal
from sealwright.signing.home import open_home
from sealwright.signing.importing import Asked, evidence_text, import_into_home, import_into_token, record_destroyed
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.keyuse import uses_of
from sealwright.signing.privatepart import kept_text
from sealwright.trust.trustfile import parse_trust

MESSAGE = b"firmware of the drive"
SECRET = b"correct horse"


def pkcs8(
    private: PrivateKey, encryption: KeySerializationEncryption | None = None, encoding: Encoding = Encoding.PEM
) -> bytes:
    return private.private_bytes(encoding, PrivateFormat.PKCS8, encryption or NoEncryption())


def old(
    private: PrivateKey, encryption: KeySerializationEncryption | None = None, encoding: Encoding = Encoding.PEM
) -> bytes:
    return private.private_bytes(encoding, PrivateFormat.TraditionalOpenSSL, encryption or NoEncryption())


def openssh(private: PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def p12(private: PrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"old", private, None, None, encryption or NoEncryption())  # type: ignore[arg-type]


LOCKED = BestAvailableEncryption(SECRET)
FORMS: dict[str, Callable[[PrivateKey], bytes]] = {
    "PKCS#8": pkcs8,
    "PKCS#8, encrypted": lambda key: pkcs8(key, LOCKED),
    "DER": lambda key: pkcs8(key, encoding=Encoding.DER),
    "DER, encrypted": lambda key: pkcs8(key, LOCKED, Encoding.DER),
    "SEC1": old,
    "SEC1, encrypted": lambda key: old(key, LOCKED),
    "OpenSSH": openssh,
    "PKCS#12": p12,
}


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def private() -> PrivateKey:
    return generate(KeyKind.P256)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_key_file_is_read_and_left_as_it_is(form: str, private: PrivateKey, tmp_path: Path) -> None:
    data = FORMS[form](private)
    path = written(tmp_path / "key", data)
    found = read_private_key(path, Pin(SECRET.decode()))
    assert (found.form, found.others_read) == (form, False)
    assert found.public.public_numbers() == private.public_key().public_numbers()  # type: ignore[union-attr]
    assert Path(path).read_bytes() == data


@pytest.mark.parametrize(
    "make", [lambda key: pkcs8(key, LOCKED), lambda key: pkcs8(key, LOCKED, Encoding.DER), lambda key: old(key, LOCKED),
             lambda key: p12(key, LOCKED)],
)  # fmt: skip
def test_an_encrypted_file_wants_its_own_passphrase(
    make: Callable[[PrivateKey], bytes], private: PrivateKey, tmp_path: Path
) -> None:
    path = written(tmp_path / "key", make(private))
    read_private_key(path, Pin(SECRET.decode()))
    with pytest.raises(KeyUnavailable, match="no passphrase was given"):
        read_private_key(path, None)
    with pytest.raises(KeyUnavailable, match="passphrase is wrong"):
        read_private_key(path, Pin("wrong"))


@pytest.mark.parametrize("made", [["-t", "ecdsa", "-b", "256"], ["-t", "ed25519"], ["-t", "rsa", "-b", "3072"]])
def test_an_openssh_key_with_a_passphrase_is_read_where_bcrypt_is_installed(tmp_path: Path, made: list[str]) -> None:
    """By `ssh-keygen`, as people have them; without the package, which the base install does without, the way round it is named."""
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", *made, "-N", SECRET.decode(), "-a", "4", "-f", path], check=True)
    public = load_ssh_public_key(path.with_name("key.pub").read_bytes())
    with pytest.raises(KeyUnavailable, match="no passphrase was given"):
        read_private_key(str(path), None)
    if importlib.util.find_spec("bcrypt") is None:
        with pytest.raises(KeyUnavailable, match="Install bcrypt, or turn a copy"):
            read_private_key(str(path), Pin(SECRET.decode()))
        return
    found = read_private_key(str(path), Pin(SECRET.decode()))
    assert found.form == "OpenSSH, encrypted"
    assert found.public == public
    with pytest.raises(KeyUnavailable, match="passphrase is wrong"):
        read_private_key(str(path), Pin("wrong"))


def test_an_encrypted_openssh_key_that_hashes_for_hours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", SECRET.decode(), "-a", "3", "-f", path], check=True)
    lines = path.read_text().splitlines()
    data = bytearray(base64.b64decode("".join(lines[1:-1])))
    at = data.index(b"\0\0\0\x06bcrypt") + 10 + 4 + 4 + 16
    assert data[at : at + 4] == b"\0\0\0\x03"
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_text("\n".join([lines[0], base64.b64encode(data).decode(), lines[-1], ""]))
    with pytest.raises(KeyRefused, match=r"hashed 4,294,967,295 times with bcrypt.*ssh-keygen -p -a 100"):
        read_private_key(str(path), Pin(SECRET.decode()))


def test_an_encrypted_openssh_key_is_refused_with_the_command_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> bytes:
        raise UnsupportedAlgorithm("Need bcrypt module")

    monkeypatch.setattr(ssh, "_bcrypt_kdf", absent)
    data = (Path(cryptography_vectors.__file__).parent / "asymmetric" / "OpenSSH" / "ecdsa-psw.key").read_bytes()
    path = written(tmp_path / "key", data)
    with pytest.raises(KeyUnavailable, match="no passphrase was given"):
        read_private_key(path, None)
    with pytest.raises(KeyUnavailable, match="ssh-keygen -p -m PKCS8"):
        read_private_key(path, Pin("password"))


def test_what_is_no_private_key_is_named_for_what_it_is(private: PrivateKey, tmp_path: Path) -> None:
    pki = Pki.make()
    for data, words in (
        (pki.root.pem.encode(), "no private key in it .certificate."),
        (
            private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "no private key in it .public key.",
        ),
        (pkcs8(private) * 2, "2 private keys"),
        (b"\xfe\xed\xfe\xed" + bytes(40), "Java keystore"),
        (b"PuTTY-User-Key-File-3: ecdsa", "PuTTY"),
        (b"-----BEGIN TSS2 PRIVATE KEY-----\n", "lives in a TPM already"),
        (b"", "no private key in PEM, DER or PKCS#12"),
        (os.urandom(300), "no private key in PEM, DER or PKCS#12"),
        (pkcs8(private)[:120], "nothing that is whole"),
        (pkcs8(private).replace(b"MIGH", b"MIGG"), "cannot be read"),
    ):
        with pytest.raises((KeyUnavailable, KeyRefused), match=words):
            read_private_key(written(tmp_path / "key", data), None)


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072, KeyKind.ED25519])
def test_a_token_takes_a_key_in_and_never_gives_it_out(kind: KeyKind) -> None:
    pin, key = softhsm(), generate(kind)
    info = import_key(f"{TOKEN};object=in-{kind}-{os.getpid()}", key, pin)
    assert info.provenance is Provenance.HARDWARE_IMPORTED
    flags = dict(info.attributes)
    assert (flags["CKA_SENSITIVE"], flags["CKA_EXTRACTABLE"], flags["CKA_LOCAL"]) == ("true", "false", "false")
    with closing(open_key(info.uri, pin, expected=key.public_key())) as opened:
        assert opened.sign([to_be_signed(MESSAGE, info.algorithm)])
        assert opened.ask({"do": "probe"})["read"] == "AttributeSensitive"  # type: ignore[attr-defined]
    with pytest.raises(KeyUnavailable, match="already in the token"):
        import_key(f"{TOKEN};object=in-{kind}-{os.getpid()}", key, pin)
    destroy_key(info.uri, pin)
    with pytest.raises(KeyUnavailable, match="no such key"):
        open_key(info.uri, pin)


def test_another_program_uses_the_imported_key_and_openssl_verifies_it(tmp_path: Path) -> None:
    pin, key, token = softhsm(), generate(KeyKind.RSA3072), another_token()
    info = import_key(f"{token};object=release", key, pin)
    identifier = info.uri.split("id=")[1].replace("%", "")
    message, value, public = tmp_path / "m", tmp_path / "s", tmp_path / "p.pem"
    message.write_bytes(MESSAGE)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    tool: list[str | Path] = [
        "pkcs11-tool",
        "--module",
        "/usr/lib/softhsm/libsofthsm2.so",
        "--token-label",
        token.partition("=")[2],
    ]
    said = run(
        [*tool, "--login", "--pin", PIN, "--sign", "--id", identifier, "--mechanism", "SHA256-RSA-PKCS",
         "--input-file", message, "--output-file", value]
    )  # fmt: skip
    assert said[0], said[1]
    verify: list[str | Path] = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", value, message]
    assert run(verify)[0]
    message.write_bytes(MESSAGE + b"!")
    assert not run(verify)[0]


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072])
def test_a_tpm_takes_a_key_in_and_says_that_it_came_from_outside(kind: KeyKind, tmp_path: Path) -> None:
    tpm()
    key = generate(kind)
    info = import_key(f"tpm:{tmp_path / 'k.tss'}", key)
    assert info.provenance is Provenance.HARDWARE_IMPORTED
    with closing(open_key(info.uri, expected=key.public_key())) as opened:
        value = opened.sign([to_be_signed(MESSAGE, info.algorithm)])
    assert value
    with pytest.raises(KeyRefused, match="takes no keys of this kind"):
        import_key(f"tpm:{tmp_path / 'ed.tss'}", generate(KeyKind.ED25519))


@pytest.fixture
def token_home(tmp_path: Path) -> tuple[Path, str]:
    """A home whose keys live in a token of its own."""
    softhsm()
    token = another_token()
    init_home(str(tmp_path / "home"), InitOptions(NOW, "Line", "ACME", token, pin=Pin(PIN)))
    return tmp_path / "home", token


def test_a_home_records_the_copies_and_the_trust_file_can_name_the_key(
    token_home: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = token_home
    home, key = open_home(str(folder)), generate(KeyKind.P256)
    path = written(tmp_path / "boot.pem", pkcs8(key))
    copies = ("laptop of the boot team, until 2026-12-01", "CI secret BOOT_KEY")
    asked = Asked(Construction.MCUBOOT, copies=copies, person="eva")
    done = import_into_home(home, "boot", path, "", (None, Pin(PIN)), asked, NOW)
    assert done.enrolled is not None
    assert done.enrolled.provenance is Provenance.HARDWARE_IMPORTED
    entry = [one for one in read_journal(str(folder / "journal")) if one.type is EntryType.KEY][-1]
    assert (entry.fields["person"], entry.fields["imported"]) == ("eva", "PKCS#8")
    named = entry.fields["copies"]
    assert isinstance(named, tuple)
    assert tuple(kept_text(home, Digest.parse(one)) for one in named) == copies  # the journal has their digests alone
    trust = parse_trust(
        trust_bytes(trust_parts(Pki.make())) + b"\n" + evidence_text(done.info, "burnt into boards", NOW).encode(),
        "trust",
    )
    (evidence,) = trust.evidence
    assert (evidence.provenance, evidence.reason) == ("hardware-imported", "burnt into boards")
    assert evidence.review is not None
    again = open_home(str(folder))
    left = record_destroyed(again, done.enrolled, copies[0], ("erased", "eva"), NOW)
    assert left == copies[1:]
    with pytest.raises(UsageError, match="no such copy"):
        record_destroyed(again, done.enrolled, copies[0], ("", ""), NOW)
    assert uses_of(str(folder / "journal"))[str(evidence.key)].left == named[1:]


def test_an_imported_key_signs_files_that_openssl_verifies(token_home: tuple[Path, str], tmp_path: Path) -> None:
    from sealwright.cli.main import main

    folder, token = token_home
    pin = written(tmp_path / "pin", PIN.encode())
    path = written(tmp_path / "release.pem", old(generate(KeyKind.P256)))
    take = ["key", "import", path, "--home", str(folder), "--name", "mine", "--token", token, "--pin-file", pin]
    assert main(take) == 0
    artifact = tmp_path / "drive.bin"
    artifact.write_bytes(MESSAGE)
    assert main(["sign", str(artifact), "--home", str(folder), "--key", "mine", "--pin-file", pin]) == 0
    signature, anchors = Path(f"{artifact}.p7s"), folder / "ca.pem"
    assert cms_verify(signature, artifact, anchors)[0]
    artifact.write_bytes(MESSAGE + b"!")
    assert not cms_verify(signature, artifact, anchors)[0]


def test_a_key_in_a_token_without_certificate_gets_one_of_the_home(
    token_home: tuple[Path, str], tmp_path: Path
) -> None:
    from sealwright.cli.main import main
    from sealwright.keys.backends import create_key

    folder, token = token_home
    pin = written(tmp_path / "pin", PIN.encode())
    info = create_key(f"{token};object=old-key", KeyKind.P256, Pin(PIN))
    enrol = ["key", "import-certificate", "--home", str(folder), "--name", "old", "--key", info.uri, "--pin-file", pin]
    assert main(enrol) == 2, "neither a certificate nor the authority is named"
    assert main([*enrol, "--own-authority"]) == 0
    (leaf, *_) = x509.load_pem_x509_certificates((folder / "certificates" / "old.pem").read_bytes())
    assert leaf.public_key() == info.public_key
    assert run(["openssl", "verify", "-CAfile", folder / "ca.pem", "-untrusted", folder / "certificates" / "old.pem",
                folder / "certificates" / "old.pem"])[0]  # fmt: skip


def test_a_pkcs12_file_brings_its_certificate_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    init_home(str(folder), InitOptions(NOW, "Line", "ACME"))
    pki = Pki.make()
    signer, other = pki.leaf(), pki.leaf()
    leaf = x509.load_der_x509_certificate(signer.certificate)
    above = [x509.load_der_x509_certificate(one.certificate) for one in (pki.root, pki.intermediate)]
    data = pkcs12.serialize_key_and_certificates(
        b"r", cast("EllipticCurvePrivateKey", signer.key._private), leaf, above, LOCKED
    )
    path = written(tmp_path / "release.p12", data)
    wrong = written(tmp_path / "other.pem", other.pem.encode())
    words = (Pin(SECRET.decode()), None)
    with pytest.raises(KeyRefused, match="of another key"):
        import_into_home(open_home(str(folder)), "a", path, "", words, Asked(certificate=wrong), NOW)
    assert not (folder / "keys" / "a.pem").exists()
    done = import_into_home(open_home(str(folder)), "a", path, "", words, Asked(), NOW)
    assert done.enrolled is not None
    assert done.enrolled.certificate == signer.certificate
    assert done.enrolled.chain == (pki.intermediate.certificate,), "upwards, and without the root"


def test_nothing_stays_in_the_token_when_the_import_fails(
    token_home: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, token = token_home
    before = {one.label for one in list_token_keys(token, Pin(PIN))}
    path = written(tmp_path / "k.pem", pkcs8(generate(KeyKind.P256)))
    with monkeypatch.context() as full:
        full.setattr(
            "sealwright.signing.enrol.write_batch", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "disk full"))
        )
        with pytest.raises(OSError, match="disk full"):
            import_into_home(open_home(str(folder)), "k", path, "", (None, Pin(PIN)), Asked(), NOW)
    assert {one.label for one in list_token_keys(token, Pin(PIN))} == before
    assert import_into_home(open_home(str(folder)), "k", path, "", (None, Pin(PIN)), Asked(), NOW).enrolled is not None


def test_a_token_can_be_given_a_key_without_a_home(tmp_path: Path) -> None:
    softhsm()
    token = another_token()
    path = written(tmp_path / "k.pem", pkcs8(generate(KeyKind.P384)))
    done = import_into_token("moved", path, token, (None, Pin(PIN)), Asked())
    assert (done.enrolled, done.info.provenance) == (None, Provenance.HARDWARE_IMPORTED)
    with pytest.raises(UsageError, match="an id of its own"):
        import_into_token("moved", path, f"{token};id=%01", (None, Pin(PIN)), Asked())
    with pytest.raises(SealwrightError, match="2048 bits"):
        short = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, check=True).stdout
        import_into_token("short", written(tmp_path / "short.pem", short), token, (None, Pin(PIN)), Asked())
    asked = Asked(Construction.MCUBOOT)
    assert import_into_token("boot", str(tmp_path / "short.pem"), token, (None, Pin(PIN)), asked).info.algorithm


@pytest.mark.parametrize("copy", ["x" * 201, "a\nb", "a\x1b[2J"])
def test_what_is_said_of_copies_is_one_short_line(copy: str, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    init_home(str(folder), InitOptions(NOW, "Line", "ACME"))
    path = written(tmp_path / "k.pem", pkcs8(generate(KeyKind.P256)))
    with pytest.raises(UsageError):
        import_into_home(open_home(str(folder)), "k", path, "", (None, None), Asked(copies=(copy,)), NOW)
    assert import_into_home(
        open_home(str(folder)), "k", path, "", (None, None), Asked(copies=("tape 7",)), NOW
    ).enrolled


def test_a_key_that_says_it_signs_pss_alone_is_not_made_to_sign_otherwise(tmp_path: Path) -> None:
    for kind, accepted in (("RSA", True), ("RSA-PSS", False)):
        for form in ("PEM", "DER"):
            path = tmp_path / f"{kind}.{form}"
            make = [
                "openssl",
                "genpkey",
                "-algorithm",
                kind,
                "-pkeyopt",
                "rsa_keygen_bits:3072",
                "-outform",
                form,
                "-out",
                path,
            ]
            assert run(make)[0]
            if accepted:
                assert read_private_key(str(path), None).public
            else:
                with pytest.raises(KeyRefused, match="PSS alone"):
                    read_private_key(str(path), None)
