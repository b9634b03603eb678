"""Weak, foreign and malformed algorithms: certificates and signatures made by OpenSSL, values bent by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kit.forge import DATA_PROFILES, forge
from kit.openssl import run
from kit.pki import Pki, p7s
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.algorithms import ECDSA_SHA256, RSA_SHA256, check_rsa, check_signature
from sealwright.envelope.asn1 import der
from sealwright.envelope.cms import BrokenSigner, Profile, check_signer, read_envelope
from sealwright.envelope.cms import Signer as Read
from sealwright.errors import BadSignature, MalformedEnvelope, SealwrightError, WeakAlgorithm

DATA = b"firmware of a drive"
ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def accept(envelope: bytes, profile: Profile = Profile.OURS) -> Read:
    (signer,) = read_envelope(envelope, profile, "f.p7s").signers
    if isinstance(signer, BrokenSigner):
        raise signer.reason
    check_signer(signer, {name: Digest.of(DATA, name) for name in HashName}, "file", "f.p7s")
    return signer


def made_by_openssl(
    folder: Path, key: list[str], *options: str, cades: bool = True, form: str = "named_curve"
) -> bytes:
    """A detached signature by a fresh key, as `openssl cms` makes it."""
    private, certificate, content, signature = (folder / name for name in ("k.pem", "c.pem", "f", "f.p7s"))
    content.write_bytes(DATA)
    assert run(["openssl", "genpkey", *key, "-out", private])[0]
    if form != "named_curve":
        assert run(["openssl", "ec", "-in", private, *form.split(), "-out", private])[0]
    assert run(["openssl", "req", "-x509", "-new", "-key", private, "-subj", "/CN=maker", "-out", certificate])[0]
    flags = ["-cades"] if cades else []
    done, words = run(
        ["openssl", "cms", "-sign", *flags, "-binary", "-in", content, "-inkey", private, "-signer", certificate,
         *options, "-outform", "DER", "-out", signature]
    )  # fmt: skip
    assert done, words
    return signature.read_bytes()


EC = ["-algorithm", "EC", "-pkeyopt"]
RSA = ["-algorithm", "RSA", "-pkeyopt"]
P256 = [*EC, "ec_paramgen_curve:P-256"]
PSS = ["-keyopt", "rsa_padding_mode:pss", "-keyopt"]
DIGEST_SALT = [*PSS, "rsa_pss_saltlen:-1"]


@pytest.mark.parametrize(
    ("key", "options"),
    [
        (P256, ()),
        (P256, ("-md", "sha512")),
        ([*EC, "ec_paramgen_curve:P-384"], ()),
        ([*EC, "ec_paramgen_curve:P-384"], ("-md", "sha384")),
        ([*EC, "ec_paramgen_curve:P-521"], ("-md", "sha512")),
        ([*RSA, "rsa_keygen_bits:2048"], ()),
        ([*RSA, "rsa_keygen_bits:3072"], ("-md", "sha384")),
        ([*RSA, "rsa_keygen_bits:2048"], ("-md", "sha512", *DIGEST_SALT)),
        (P256, ("-keyid",)),
    ],
)
def test_what_openssl_signs_within_the_rules_is_accepted(tmp_path: Path, key: list[str], options: list[str]) -> None:
    assert accept(made_by_openssl(tmp_path, key, *options)).kind == "file"


@pytest.mark.parametrize("profile", DATA_PROFILES)
@pytest.mark.parametrize(
    ("key", "options", "says"),
    [
        pytest.param([*RSA, "rsa_keygen_bits:1024"], (), "1024 bits", id="a010-rsa-1024"),
        pytest.param([*RSA, "rsa_keygen_pubexp:3"], (), "exponent 3", id="a007-rsa-e-3"),
        pytest.param([*RSA, "rsa_keygen_pubexp:257"], (), "exponent 257", id="a010-rsa-e-257"),
        pytest.param([*EC, "ec_paramgen_curve:P-224"], (), "secp224r1", id="a010-p224"),
        pytest.param([*EC, "ec_paramgen_curve:secp256k1"], (), "secp256k1", id="a010-secp256k1"),
        pytest.param([*EC, "ec_paramgen_curve:brainpoolP256r1"], (), "brainpool", id="a010-brainpool"),
        pytest.param([*RSA, "rsa_keygen_bits:2048"], ("-md", "sha1"), "SHA", id="a019-rsa-sha1"),
        pytest.param(P256, ("-md", "sha1"), "SHA", id="a019-ecdsa-sha1"),
        pytest.param(P256, ("-md", "sha224"), "SHA", id="a019-sha224"),
        pytest.param([*RSA, "rsa_keygen_bits:2048"], [*PSS, "rsa_pss_saltlen:20"], "signature algorithm", id="a019-pss-salt-20"),
        pytest.param([*RSA, "rsa_keygen_bits:2048"], [*DIGEST_SALT, "-keyopt", "rsa_mgf1_md:sha1"], "signature algorithm", id="a019-pss-mgf1-sha1"),
    ],
)  # fmt: skip
def test_weak_algorithms_are_refused_in_every_profile(
    tmp_path: Path, key: list[str], options: list[str], says: str, profile: Profile
) -> None:
    with pytest.raises(WeakAlgorithm, match=says):
        accept(made_by_openssl(tmp_path, key, *options), profile)


@pytest.mark.parametrize("form", ["-param_enc explicit", "-conv_form compressed"])
def test_a023_a_curve_written_out_or_a_compressed_point_is_refused(tmp_path: Path, form: str) -> None:
    assert accept(made_by_openssl(tmp_path, P256))
    with pytest.raises(MalformedEnvelope):
        accept(made_by_openssl(tmp_path, P256, form=form))


def test_a027_openssl_noattr_is_refused(tmp_path: Path) -> None:
    for profile in DATA_PROFILES:
        with pytest.raises(MalformedEnvelope, match="no signed attributes"):
            accept(made_by_openssl(tmp_path, P256, "-noattr", cades=False), profile)


def numbers(r: int, s: int) -> bytes:
    return der(0x30, asn1.encode_der(r) + asn1.encode_der(s))


def test_a003_an_ecdsa_value_has_one_encoding() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    release = Pki.make().leaf()
    read = accept(p7s(release, DATA))
    r, s = decode_dss_signature(read.signature)
    check_signature(read.key, read.algorithm, numbers(r, s), read.signed_bytes, subject="x")
    body = read.signature[2:]
    padded = der(0x02, b"\0" + body[2 : 2 + body[1]]) + body[2 + body[1] :]
    wrong = [
        read.signature + b"\0",
        b"\x30\x81" + bytes([len(body)]) + body,
        b"\x30\x80" + body + b"\0\0",
        der(0x30, padded),
        der(0x30, body + b"\x05\x00"),
        der(0x31, body),
        r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        read.signature[:-1],
        b"",
        b"\x30\x00",
    ]
    for value in wrong:
        with pytest.raises(BadSignature):
            check_signature(read.key, read.algorithm, value, read.signed_bytes, subject="x")
    with pytest.raises(BadSignature):
        check_signature(key.public_key(), read.algorithm, read.signature, read.signed_bytes, subject="x")


@pytest.mark.parametrize(
    ("r", "s"),
    [(0, 0), (0, 1), (1, 0), (1, 1), (ORDER_P256, ORDER_P256), (ORDER_P256, 1), (1, ORDER_P256), (ORDER_P256 + 1, 1),
     (ORDER_P256 - 1, ORDER_P256 - 1), (-1, 1), (1, -1), (2**521, 1)],
)  # fmt: skip
def test_a001_values_that_are_no_signature_never_verify(r: int, s: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(BadSignature):
        check_signature(key, ECDSA_SHA256, numbers(r, s), DATA, subject="x")


def test_a005_the_twin_of_an_ecdsa_value_names_the_same_artifact_and_signer() -> None:
    release = Pki.make().leaf()
    read = accept(forge(release, DATA))
    r, s = decode_dss_signature(read.signature)
    twin = numbers(r, ORDER_P256 - s)
    other = accept(forge(release, DATA, value=twin))
    assert other.signature == twin != read.signature
    assert (other.digest, other.certificate, other.signed_bytes) == (read.digest, read.certificate, read.signed_bytes)


@pytest.mark.parametrize(
    "shape",
    ["garbage behind the digest", "short padding", "no null", "digest of another name", "block type 2", "bare digest"],
)
def test_a007_pkcs1_blocks_that_are_not_exactly_right_are_refused(shape: str) -> None:
    private = rsa.generate_private_key(65537, 2048)
    size, n, d = 256, private.public_key().public_numbers().n, private.private_numbers().d
    digest = Digest.of(DATA).value
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest
    blocks = {
        "right": b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info,
        "garbage behind the digest": b"\0\1" + b"\xff" * 8 + b"\0" + info + bytes(size - 11 - len(info)),
        "short padding": b"\0\1" + b"\xff" * 7 + b"\0" + info + b"\1" * (size - 10 - len(info)),
        "no null": b"\0\1" + b"\xff" * (size - 1 - len(info)) + b"\0" + bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest,
        "digest of another name": b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info.replace(b"\x04\x02\x01", b"\x04\x02\x03"),
        "block type 2": b"\0\2" + b"\xff" * (size - 3 - len(info)) + b"\0" + info,
        "bare digest": b"\0\1" + b"\xff" * (size - 3 - 32) + b"\0" + digest,
    }  # fmt: skip
    values = {name: pow(int.from_bytes(block, "big"), d, n).to_bytes(size, "big") for name, block in blocks.items()}
    assert all(len(block) == size for block in blocks.values())
    check_signature(private.public_key(), RSA_SHA256, values["right"], DATA, subject="x")
    for value in (values[shape], b"\0" + values["right"], values["right"][1:]):
        with pytest.raises(BadSignature):
            check_signature(private.public_key(), RSA_SHA256, value, DATA, subject="x")


@pytest.mark.parametrize("exponent", [1, 3, 65536, 65535, 2**64 + 1])
def test_a010_exponents_outside_the_rules_are_refused(exponent: int) -> None:
    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    check_rsa(rsa.RSAPublicNumbers(65537, modulus).public_key(), subject="x")
    with pytest.raises((SealwrightError, ValueError)):
        check_rsa(rsa.RSAPublicNumbers(exponent, modulus).public_key(), subject="x")
