"""Signatures of older kinds, made by gpg, minisign and openssl themselves: what holds is taken, everything weaker is refused."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kit.vendors import Gpg, Minisign, openssl, openssl_key, openssl_sign
from sealwright.errors import OldSignatureRefused, SealwrightError
from sealwright.plant import minisignature
from sealwright.plant.comparing import states
from sealwright.plant.oldkinds import Checked, Given
from sealwright.plant.oldsignature import check_old_signature
from sealwright.plant.openpgp import _packets, detached_signature, keyring
from sealwright.plant.rawsignature import DIGESTS, _key, _octets
from sealwright.plant.tools import Workshop

CONTENT = b"firmware of a drive\nversion 2.4\n"
RSA = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
P256 = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")


def checked(signature: Path, key: Path, content: bytes = CONTENT) -> Checked:
    """As `receive` does: on a private copy."""
    found = states(DIGESTS)
    for state in found.values():
        state.update(content)
    with Workshop() as workshop:
        copy = workshop.place("content", content)
        given = Given(signature.name, signature.read_bytes(), key.name, key.read_bytes())
        return check_old_signature(given, copy, {name: state.digest() for name, state in found.items()}, workshop)


def refused(signature: Path, key: Path, words: str, content: bytes = CONTENT) -> None:
    with pytest.raises(OldSignatureRefused, match=words):
        checked(signature, key, content)


def weak(signature: Path, key: Path, *words: str) -> None:
    """It holds, and is said to stand for little."""
    said = "; ".join(checked(signature, key).weaknesses)
    assert said
    assert all(word in said for word in words), said


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpg]:
    made = Gpg(tmp_path_factory.mktemp("vendor") / "gnupg")
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "drive.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("kind", ["rsa2048", "rsa4096", "nistp256", "nistp521", "ed25519"])
@pytest.mark.parametrize("armor", [(), ("--armor",)])
def test_a_signature_of_gpg_is_taken_altered_ones_and_other_keys_are_not(
    kind: str, armor: tuple[str, ...], gpg: Gpg, file: Path, tmp_path: Path
) -> None:
    name, other = f"vendor {kind} {len(armor)}", f"other {kind} {len(armor)}"
    fingerprint = gpg.key(name, kind)
    gpg.key(other, kind)
    key = gpg.export(name, tmp_path / "vendor.asc", *armor)
    signature = gpg.sign(file, name)
    found = checked(signature, key)
    assert found.key == f"openpgp:{fingerprint}"
    assert found.tool.startswith("gpgv (GnuPG)")
    assert "by its own word" in found.how
    assert not found.weaknesses
    refused(signature, key, "it does not hold for this file", CONTENT + b"!")
    refused(gpg.sign(file, other), key, "by another key than those in the key file")
    binary = tmp_path / "altered.sig"
    gpg("--output", binary, "--local-user", f"={name}", "--detach-sign", file)
    octets = bytearray(binary.read_bytes())
    octets[-5] ^= 1
    binary.write_bytes(octets)
    refused(binary, key, "does not hold|does not take it")


def test_subkeys_sign_for_their_primary_key(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    fingerprint = gpg.key("with subkey", "rsa2048")
    gpg("--quick-add-key", fingerprint, "ed25519", "sign", "never")
    found = checked(gpg.sign(file, "with subkey"), gpg.export("with subkey", tmp_path / "key.asc", "--armor"))
    assert found.key == f"openpgp:{fingerprint}"
    assert found.how.startswith("EdDSA with SHA-256, made ")


@pytest.mark.parametrize(
    ("digest", "words"),
    [
        ("SHA1", "made with SHA-1"),
        ("SHA224", "made with SHA-224"),
        ("RIPEMD160", "made with RIPEMD-160"),
    ],
)
def test_weak_digests_are_told(digest: str, words: str, gpg: Gpg, file: Path, tmp_path: Path) -> None:
    name = f"weak {digest}"
    gpg.key(name)
    key = gpg.export(name, tmp_path / "key.gpg")
    assert not checked(gpg.sign(file, name), key).weaknesses
    weak(gpg.sign(file, name, "--digest-algo", digest), key, words)


def test_md5_and_signatures_over_texts_are_refused(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    gpg.key("of old")
    key = gpg.export("of old", tmp_path / "key.gpg")
    refused(gpg.sign(file, "of old", "--digest-algo", "MD5"), key, "its algorithm is too old")
    refused(gpg.sign(file, "of old", "--textmode"), key, "holds for a text whose line ends may change")


@pytest.mark.parametrize(("kind", "words"), [("rsa1024", "RSA key of 1024 bits"), ("dsa2048", "a key by DSA"), ("brainpoolP256r1", "ECDSA on another curve")])  # fmt: skip
def test_weak_keys_are_told(kind: str, words: str, gpg: Gpg, file: Path, tmp_path: Path) -> None:
    gpg.key(f"weak {kind}", kind)
    weak(
        gpg.sign(file, f"weak {kind}", "--digest-algo", "SHA256"),
        gpg.export(f"weak {kind}", tmp_path / "key.gpg"),
        words,
    )


def test_expired_and_revoked_keys_and_expired_signatures_are_told(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    gpg.key("expired", expires="20210101T000000", at="20200101T000000")
    weak(gpg.sign(file, "expired", at="20200601T000000"), gpg.export("expired", tmp_path / "a.gpg"), "key has expired")
    fingerprint = gpg.key("revoked")
    signature = gpg.sign(file, "revoked")
    assert not checked(signature, gpg.export("revoked", tmp_path / "b.gpg")).weaknesses
    revocation = (
        (gpg.folder / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
    )
    gpg("--import", text=revocation)
    weak(signature, gpg.export("revoked", tmp_path / "c.gpg"), "its key was revoked")
    gpg.key("short lived", at="20200101T000000")
    short = gpg.sign(file, "short lived", "--default-sig-expire", "10", at="20200601T000000")
    weak(short, gpg.export("short lived", tmp_path / "d.gpg"), "it has expired")


def test_two_signatures_in_one_file_are_not_one(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    gpg.key("one")
    gpg.key("two")
    gpg("--output", tmp_path / "both.sig", "-u", "=one", "-u", "=two", "--detach-sign", file)
    refused(tmp_path / "both.sig", gpg.export("one", tmp_path / "one.gpg"), "there are 2 signatures in it")


def test_a_message_with_its_content_inside_signs_no_file_beside_it(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    """CVE-2018-12020: also with a name inside that looks like lines of the status."""
    gpg.key("inline")
    key = gpg.export("inline", tmp_path / "key.gpg")
    name = "x\n[GNUPG:] GOODSIG 0000 vendor\n[GNUPG:] VALIDSIG 0000"
    for options in (
        ["--sign"],
        ["--clear-sign"],
        ["--set-filename", name, "--sign"],
        ["--set-filename", name, "--store"],
    ):
        target = tmp_path / "message"
        gpg("--output", target, "-u", "=inline", *options, file)
        refused(target, key, "no signature of a file beside it|it signs a text inside it")


def test_a_subkey_that_the_primary_key_never_bound_signs_nothing(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    """Whoever compares the primary key's fingerprint alone is not fooled by a key file with more in it."""
    gpg.key("genuine")
    fingerprint = gpg.key("attacker")
    gpg("--quick-add-key", fingerprint, "rsa2048", "sign", "never")
    good = gpg.export("genuine", tmp_path / "good.gpg")
    bad = gpg.export("attacker", tmp_path / "bad.gpg")
    by_subkey = gpg.sign(file, "attacker").rename(tmp_path / "subkey.asc")
    by_primary = tmp_path / "primary.sig"
    gpg("--output", by_primary, "-u", f"{fingerprint}!", "--detach-sign", file)
    packets = list(_packets(bad.read_bytes(), "bad"))
    primary, subkey, bound = packets[0][1], packets[-2][1], packets[-1][1]
    checked(by_subkey, bad)
    checked(by_primary, bad)
    key = tmp_path / "key.gpg"
    for more, signature in (
        (_packet(14, subkey), by_subkey),
        (_packet(14, subkey) + _packet(2, bound), by_subkey),
        (_packet(14, primary), by_primary),
        (_packet(14, primary) + _packet(2, bound), by_primary),
    ):
        key.write_bytes(good.read_bytes() + more)
        refused(signature, key, "none that the primary key vouches for")
    key.write_bytes(_packet(6, primary) + _packet(13, b"genuine"))
    refused(by_primary, key, "none that the primary key vouches for")
    key.write_bytes(good.read_bytes() + bad.read_bytes())
    refused(by_subkey, key, "there are 2 keys in it")


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


def test_a_name_of_the_key_that_looks_like_a_status_line_changes_nothing(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    name = "BADSIG [GNUPG:] REVKEYSIG x"
    gpg.key(name)
    checked(gpg.sign(file, name), gpg.export(name, tmp_path / "key.gpg"))


def test_private_keys_and_what_is_no_key_are_refused(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    gpg.key("careless")
    signature = gpg.sign(file, "careless")
    secret = tmp_path / "secret.gpg"
    gpg("--output", secret, "--export-secret-keys", "=careless")
    refused(signature, secret, "it has a private key in it")
    gpg("--output", secret, "--armor", "--export-secret-keys", "=careless")
    refused(signature, secret, "it is a private key")
    good = gpg.export("careless", tmp_path / "good.asc", "--armor").read_bytes()
    for number, data in enumerate(
        [b"", b"hello", b"\x99\xff\xff", good[:300], good.replace(b"\n\n", b"\n\n!!", 1), b"\xff" * 50]
    ):
        path = tmp_path / f"{number}.key"
        path.write_bytes(data)
        refused(signature, path, "no public key|no length that fits|begins no OpenPGP packet|armor is damaged")


@pytest.mark.parametrize("options", [(), ("-l",)])
def test_a_signature_of_minisign_is_taken_altered_ones_and_other_keys_are_not(
    options: tuple[str, ...], file: Path, tmp_path: Path
) -> None:
    vendor, other = Minisign(tmp_path, "vendor"), Minisign(tmp_path, "other")
    signature = vendor.sign(file, *options)
    found = checked(signature, vendor.public)
    assert found.key == f"minisign:{vendor.public.read_text().split()[-1]}"
    assert found.tool == "minisign 0.11" or found.tool.startswith("minisign")
    assert "by its own word" in found.how
    assert not found.weaknesses
    refused(signature, vendor.public, "does not hold for this file", CONTENT + b"!")
    refused(signature, other.public, "it is by the key")
    lines = signature.read_text().splitlines()
    for number, altered in ((1, lines[1][:-6] + "AAAA=="), (2, lines[2] + "!"), (3, lines[3][:-6] + "AAAA==")):
        changed = [*lines]
        changed[number] = altered
        signature.write_text("\n".join(changed) + "\n")
        refused(signature, vendor.public, "does not hold|no signature of minisign")
    bare = tmp_path / "bare.pub"
    bare.write_text(vendor.public.read_text().split()[-1])
    checked(vendor.sign(file, *options), bare)


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize(("key", "options"), [(RSA, ()), (RSA, PSS), (RSA, (*PSS[:2], "-sigopt", "rsa_pss_saltlen:20")), (P256, ())])  # fmt: skip
def test_a_raw_signature_of_openssl_is_taken_altered_ones_and_other_keys_are_not(
    digest: str, key: tuple[str, ...], options: tuple[str, ...], file: Path, tmp_path: Path
) -> None:
    private, public = openssl_key(tmp_path, "vendor", *key)
    _, other = openssl_key(tmp_path, "other", *key)
    signature = openssl_sign(file, private, digest, *options)
    found = checked(signature, public)
    assert found.how.endswith(digest.upper().replace("SHA", "SHA-"))
    assert ("PSS" in found.how) is bool(options)
    assert found.tool.startswith("OpenSSL 3")
    spki = openssl("pkey", "-pubin", "-in", public, "-outform", "DER", cwd=tmp_path)
    der = tmp_path / "public.der"
    der.write_bytes(spki)
    assert checked(signature, der) == found
    refused(signature, public, "does not hold for this file", CONTENT + b"!")
    refused(signature, other, "does not hold for this file")
    octets = signature.read_bytes()
    signature.write_bytes(base64.encodebytes(octets))
    assert checked(signature, public) == found
    signature.write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))
    refused(signature, public, "does not hold for this file")


def test_base64_that_begins_like_a_sequence_is_read_as_base64(tmp_path: Path) -> None:
    """One RSA signature in 64 begins so."""
    _, public = openssl_key(tmp_path, "vendor", *RSA)
    key = load_pem_public_key(public.read_bytes())
    assert isinstance(key, rsa.RSAPublicKey)
    octets = b"\xd0" * ((key.key_size + 7) // 8)
    assert base64.b64encode(octets)[:1] == b"0"
    assert _octets(base64.encodebytes(octets), key) == octets
    assert _octets(octets, key) == octets


@pytest.mark.parametrize("digest", ["sha1", "md5", "sha224"])
def test_a_raw_signature_over_a_weak_digest_is_told_as_that(digest: str, file: Path, tmp_path: Path) -> None:
    private, public = openssl_key(tmp_path, "vendor", *RSA)
    weak(openssl_sign(file, private, digest), public, "made with")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "RSA key of 1024 bits"),
        ((*RSA, "-pkeyopt", "rsa_keygen_pubexp:3"), "public exponent 3"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "curve secp256k1"),
    ],
)
def test_a_raw_signature_by_a_weak_key_is_told_as_that(
    key: tuple[str, ...], words: str, file: Path, tmp_path: Path
) -> None:
    private, public = openssl_key(tmp_path, "vendor", *key)
    weak(openssl_sign(file, private, "sha256"), public, words)


def test_a_certificate_names_its_key_and_a_cms_is_told_where_it_belongs(file: Path, tmp_path: Path) -> None:
    private, _ = openssl_key(tmp_path, "vendor", *P256)
    certificate = tmp_path / "vendor.crt"
    openssl("req", "-x509", "-key", private, "-subj", "/CN=vendor", "-out", certificate, cwd=tmp_path)
    assert checked(openssl_sign(file, private, "sha256"), certificate).signer == "CN=vendor"
    cms = tmp_path / "drive.p7s"
    openssl(
        "cms",
        "-sign",
        "-binary",
        "-in",
        file,
        "-signer",
        certificate,
        "-inkey",
        private,
        "-outform",
        "DER",
        "-out",
        cms,
        cwd=tmp_path,
    )
    refused(cms, certificate, "it is a CMS signature, which Sealwright judges itself")
    refused(cms, private, "CMS|private")
    refused(openssl_sign(file, private, "sha256"), private, "it is a private key")


def test_nothing_stays_behind(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    vendor = Minisign(tmp_path, "vendor")
    signature = vendor.sign(file)
    checked(signature, vendor.public)
    refused(signature, vendor.public, "does not hold", b"other")
    assert not list(place.iterdir())


def test_damaged_keys_and_signatures_are_refused_and_never_more(gpg: Gpg, file: Path, tmp_path: Path) -> None:
    """A fixed series of changes; what they did to a certificate's version was a traceback once."""
    gpg.key("damaged")
    private, public = openssl_key(tmp_path, "vendor", *RSA)
    certificate = tmp_path / "vendor.der"
    openssl(
        "req", "-x509", "-key", private, "-subj", "/CN=vendor", "-outform", "DER", "-out", certificate, cwd=tmp_path
    )
    vendor = Minisign(tmp_path, "vendor")
    worlds: list[tuple[Callable[[bytes], object], Path]] = [
        (lambda data: _key(Given("s", b"", "k", data)), certificate),
        (lambda data: _key(Given("s", b"", "k", data)), public),
        (lambda data: keyring(data, "k"), gpg.export("damaged", tmp_path / "damaged.gpg")),
        (lambda data: detached_signature(data, "s"), gpg.sign(file, "damaged")),
        (lambda data: minisignature._signature(Given("s", data, "k", b"")), vendor.sign(file)),
        (lambda data: minisignature._key(Given("s", b"", "k", data)), vendor.public),
    ]
    chance = random.Random(7)
    for read, path in worlds:
        good = path.read_bytes()
        read(good)
        for _ in range(400):
            at, octet = chance.randrange(len(good)), chance.randrange(256)
            with suppress(SealwrightError):
                read(good[:at] + bytes([octet]) + good[at + chance.randrange(3) :])
