"""A010 at the doors: weak keys, published keys, keys that share a prime, in requests, certificates, imports and lists."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from math import gcd
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from kit.openssl import run
from kit.pki import NOW, Pki
from sealwright.cli.main import main
from sealwright.errors import MalformedEnvelope, MalformedTrust, WeakAlgorithm
from sealwright.keys.file import generate
from sealwright.keys.key import KeyKind
from sealwright.pki.authority import Issuer, Subject, issue
from sealwright.pki.knownkeys import published_keys, read_known_keys
from sealwright.pki.profiles import CODE_SIGNER
from sealwright.pki.request import read_request
from sealwright.pki.sharedfactors import shared_factors
from sealwright.pki.weakkeys import _small_primes, check_key, near_factors, read_public_key, weakness

VECTORS = Path(cryptography_vectors.__file__).parent / "asymmetric"
PUBLISHED = VECTORS / "DER_Serialization" / "ec_private_key.der"
SNAKEOIL = Path("/usr/share/ovmf/PkKek-1-snakeoil.pem")


def spki(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def pem(private: Any) -> bytes:
    return bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def next_prime(number: int) -> int:
    number |= 1
    while pow(2, number - 1, number) != 1 or number % 65537 == 1:
        number += 2
    return number


def without_small_factors(number: int) -> int:
    """Enough for a weak modulus: whether it is a prime makes no difference to who finds it."""
    number |= 1
    while gcd(number, _small_primes()) != 1:
        number += 2
    return number


def public_rsa(n: int, e: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(e, n).public_key()


def rsa_of(p: int, q: int) -> rsa.RSAPrivateKey:
    d = pow(65537, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, p * q)
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


@pytest.fixture(scope="module")
def good() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture(scope="module")
def primes(good: rsa.RSAPrivateKey) -> tuple[int, int]:
    numbers = good.private_numbers()
    return numbers.p, numbers.q


@pytest.mark.parametrize(
    "kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519, KeyKind.ML_DSA_44, KeyKind.ML_DSA_65]
)
def test_fresh_keys_come_in(kind: KeyKind) -> None:
    for _ in range(3):
        assert check_key(generate(kind).public_key(), subject="new") is kind.algorithm


def test_a010_weak_rsa_moduli_are_refused_each_by_its_weakness(
    good: rsa.RSAPrivateKey, primes: tuple[int, int]
) -> None:
    p, q = primes
    check_key(good.public_key(), subject="good")
    assert not near_factors(p * q)
    near, half = without_small_factors(p + 2), without_small_factors(p // 2)
    long = 2**4423 - 1  # a prime of Mersenne's
    for key, words in (
        (public_rsa(p * near), "near each other"),
        (public_rsa(p * p), "near each other"),
        (public_rsa(p * half), "near each other"),
        (public_rsa(long), "itself a prime"),
        (public_rsa(3 * long), "factor below"),
        (public_rsa(65521 * long), "factor below"),
        (public_rsa(p * q * 2**1), "exponent|bits"),
        (public_rsa(p * q, 3), "exponent 3"),
        (public_rsa(p * q, 2**64 + 13), "exponent"),
        (rsa.generate_private_key(65537, 2048).public_key(), "2048 bits"),
    ):
        with pytest.raises(WeakAlgorithm, match=words):
            check_key(key, subject="bad", least_rsa_bits=3071 if key.key_size > 2048 else 3072)


def test_a_short_rsa_key_of_the_past_may_still_be_believed() -> None:
    old = rsa.generate_private_key(65537, 2048).public_key()
    check_key(old, subject="old", least_rsa_bits=2048)
    with pytest.raises(WeakAlgorithm):
        check_key(old, subject="old")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a010_ecdsa_keys_of_small_or_repeated_numbers_are_refused(curve: ec.EllipticCurve) -> None:
    check_key(ec.generate_private_key(curve).public_key(), subject="good")
    order = {256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551}.get(curve.key_size)
    scalars = [1, 2, 200, int.from_bytes(b"\x11" * (curve.key_size // 8), "big")] + ([order - 1] if order else [])
    for scalar in scalars:
        with pytest.raises(WeakAlgorithm, match="small or repeated"):
            check_key(ec.derive_private_key(scalar, curve).public_key(), subject="bad")


@pytest.mark.parametrize("curve", [ec.SECP224R1(), ec.SECP256K1(), ec.BrainpoolP256R1()])
def test_a010_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    with pytest.raises(WeakAlgorithm, match="curve"):
        read_public_key(spki(ec.generate_private_key(curve).public_key()), subject="request")


def test_a010_a_curve_by_its_parameters_or_a_compressed_point_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    assert run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key])[0]
    out = tmp_path / "out.der"
    forms = [([], True), (["-param_enc", "explicit"], False), (["-conv_form", "compressed"], False)]
    for options, accepted in forms:
        assert run(["openssl", "ec", "-in", key, "-pubout", "-outform", "DER", "-out", out, *options])[0]
        if accepted:
            assert read_public_key(out.read_bytes(), subject="request")
        else:
            with pytest.raises(WeakAlgorithm, match="encoding"):
                read_public_key(out.read_bytes(), subject="request")


def test_a010_points_that_are_none_and_octets_that_are_no_key_are_refused() -> None:
    der = spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    assert read_public_key(der, subject="request")
    for bad in (der[:-1] + bytes([der[-1] ^ 1]), der[:-1], der + b"\0", b"", b"\x30\x80", bytes(20_000)):
        with pytest.raises((MalformedEnvelope, WeakAlgorithm)):
            read_public_key(bad, subject="request")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("01" + "00" * 31, "small order"),
        ("00" * 32, "small order"),
        ("ec" + "ff" * 30 + "7f", "small order"),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "small order"),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "small order"),
        ("ee" + "ff" * 30 + "7f", "no point"),  # one, written as p + 1
        ("ff" * 32, "no point"),
        ("02" + "00" * 31, "no point"),
    ],
)
def test_a010_ed25519_points_of_small_order_or_odd_encoding_are_refused(raw: str, words: str) -> None:
    with pytest.raises(WeakAlgorithm, match=words):
        check_key(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw)), subject="bad")


def test_a010_keys_made_of_one_octet_are_refused() -> None:
    seed = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x42" * 32).public_key()
    assert "small or repeated" in weakness(seed)
    good = generate(KeyKind.ML_DSA_44).public_key()
    raw = good.public_bytes_raw()  # type: ignore[union-attr]
    assert weakness(good) == ""
    for bad in (raw[:32] + bytes(len(raw) - 32), bytes(32) + raw[32:]):
        assert "repeated" in weakness(mldsa.MLDSA44PublicKey.from_public_bytes(bad))


def test_a010_published_keys_are_refused_with_the_place_they_stand_at() -> None:
    key = load_der_private_key(PUBLISHED.read_bytes(), None)
    with pytest.raises(WeakAlgorithm, match=r"private key is published: .*ec_private_key"):
        check_key(key.public_key(), subject="request")
    snakeoil = x509.load_pem_x509_certificate(SNAKEOIL.read_bytes())
    with pytest.raises(WeakAlgorithm, match="OVMF"):
        check_key(snakeoil.public_key(), subject="request", least_rsa_bits=2048)
    assert published_keys().count > 7000
    places = " ".join(published_keys().places.values())
    for source in (
        "MCUboot",
        "RFC",
        "rfc9500",
        "Android",
        "PKfail",
        "OP-TEE",
        "TF-A",
        "TF-M",
        "U-Boot",
        "RAUC",
        "ESP-IDF",
    ):
        assert source in places


def test_a010_no_door_lets_a_published_key_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pki, home = Pki.make(), str(tmp_path / "home")
    known = load_der_private_key(PUBLISHED.read_bytes(), None)
    fresh = generate(KeyKind.P256)
    issuer = Issuer(pki.intermediate.key, pki.intermediate.certificate)
    issue(CODE_SIGNER, Subject("release"), fresh.public_key(), issuer, NOW, pki.provenance)
    with pytest.raises(WeakAlgorithm, match="published"):
        issue(CODE_SIGNER, Subject("release"), known.public_key(), issuer, NOW, pki.provenance)  # type: ignore[arg-type]
    assert main(["init", home]) == 0
    for name, key, code in (("fresh", fresh, 0), ("known", known, 1)):
        path = tmp_path / f"{name}.pem"
        path.write_bytes(pem(key))
        path.chmod(0o600)
        assert main(["key", "import", str(path), "--home", home, "--name", name]) == code
        own = f"file:{path}"
        again = ["key", "import-certificate", "--own-authority", "--home", home, "--name", f"{name}-2", "--key", own]
        assert main(again) == 1
        assert main(["key", "check", str(path)]) == code
    said = capsys.readouterr()
    assert said.err.count("its private key is published") == 2
    assert "enrolled already as fresh" in said.err
    leaked, other = tmp_path / "leaked.txt", tmp_path / "other.pem"
    other.write_bytes(pem(private := generate(KeyKind.P256)))
    other.chmod(0o600)
    leaked.write_text(hashlib.sha256(spki(private.public_key())).hexdigest())
    take = ["key", "import-certificate", "--own-authority", "--home", home, "--name", "other", "--key", f"file:{other}"]
    assert main([*take, "--known-keys", str(leaked)]) == 1
    assert main(take) == 0
    assert not (tmp_path / "home" / "keys" / "known.pem").exists()


def test_a010_two_keys_with_one_prime_give_each_other_away(
    good: rsa.RSAPrivateKey, primes: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    p, _ = primes
    other = rsa.generate_private_key(65537, 3072)
    shared = rsa_of(p, other.private_numbers().q)
    found = shared_factors([key.public_key().public_numbers().n for key in (good, shared)])
    assert set(found.values()) == {p}
    alone = rsa.generate_private_key(65537, 3072)
    for name, key in (("good", good), ("shared", shared), ("alone", alone)):
        (tmp_path / f"{name}.pem").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    paths = [str(tmp_path / f"{name}.pem") for name in ("good", "shared", "alone")]
    assert main(["key", "check", paths[0], paths[2]]) == 0
    assert main(["key", "check", paths[1], paths[2]]) == 0, "by itself it looks good"
    capsys.readouterr()
    assert main(["key", "check", *paths]) == 1
    said = capsys.readouterr().out
    assert said.count("shares a prime with another key's") == 2
    assert said.count("REFUSED") == 2
    assert f"good     {'sha256:'}{hashlib.sha256(spki(alone.public_key())).hexdigest()}" in said


def test_shared_factors_are_found_among_many_and_only_there() -> None:
    import random

    dice = random.Random(7)
    first = [next_prime(dice.getrandbits(64) | 1 << 63) for _ in range(61)]
    numbers = [a * b for a, b in zip(first[:30], first[30:60], strict=True)]
    assert shared_factors(numbers) == {}
    assert shared_factors([]) == {}
    assert shared_factors([numbers[0], numbers[0]]) == {}, "one key in two certificates is one key"
    bad = first[3] * first[60]
    assert shared_factors([*numbers, bad]) == {numbers[3]: first[3], bad: first[3]}
    both = first[1] * first[2]
    assert shared_factors([*numbers, both]).keys() == {numbers[1], numbers[2], both}


def test_lists_of_others_are_read_in_their_forms(good: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    public = good.public_key()
    n = public.public_numbers().n
    other = generate(KeyKind.P256).public_key()
    openssl = hashlib.sha1(f"Modulus={n:X}\n".encode(), usedforsecurity=False).hexdigest()[20:]
    ssh = b64decode(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    number = hashlib.sha256(n.to_bytes((n.bit_length() + 7) // 8, "big")).digest()[:15]
    filler = [hashlib.sha256(bytes([i])).digest()[:15] + b"\x02" for i in range(50)]
    forms = {
        "digests.txt": f"# a list\n{hashlib.sha256(spki(public)).hexdigest()}  found in a box\n".encode(),
        "bare.txt": hashlib.sha256(spki(public)).hexdigest().upper().encode(),
        "blacklist.RSA-3072": f"# openssl-blacklist\n{openssl}\n".encode(),
        "blacklist.ssh": hashlib.md5(ssh, usedforsecurity=False).hexdigest()[12:].encode() + b"\n",
        "blocklist.dat": b"".join(sorted([*filler, number + b"\x01"])),
    }
    for name, data in forms.items():
        path = tmp_path / name
        path.write_bytes(data)
        known = read_known_keys(str(path))
        assert known.where(public), name
        assert not known.where(other), name
        with pytest.raises(WeakAlgorithm, match="published"):
            check_key(public, subject="request", known=[known])
        check_key(other, subject="request", known=[known])


@pytest.mark.parametrize(
    "data", [b"", b"# nothing\n", b"hello\n", b"\0" * 17, bytes(32) + b"\1" * 16 + bytes(16), b"ab" * 15 + b"\n"]
)
def test_what_is_no_list_of_keys_is_refused_before_a_key_is_believed(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(data)
    with pytest.raises(MalformedTrust):
        read_known_keys(str(path))


def test_openssl_names_a_published_key_as_our_list_does(tmp_path: Path) -> None:
    out = tmp_path / "public.der"
    assert run(["openssl", "x509", "-in", SNAKEOIL, "-noout", "-pubkey", "-out", tmp_path / "public.pem"])[0]
    assert run(["openssl", "pkey", "-pubin", "-in", tmp_path / "public.pem", "-outform", "DER", "-out", out])[0]
    assert "OVMF" in published_keys().places[hashlib.sha256(out.read_bytes()).hexdigest()]


def test_a010_what_a_published_key_signed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, artifact = str(tmp_path / "home"), tmp_path / "drive.bin"
    artifact.write_bytes(b"firmware")
    assert main(["init", home]) == 0
    assert main(["sign", str(artifact), "--home", home]) == 0
    (tmp_path / "other.bin").write_bytes(b"more")
    assert main(["sign", str(tmp_path / "other.bin"), "--home", home, "--product", "VX-200"]) == 0
    private = load_pem_private_key((tmp_path / "home" / "keys" / "release.pem").read_bytes(), None)
    leaked = tmp_path / "leaked.txt"
    leaked.write_text(hashlib.sha256(spki(private.public_key())).hexdigest() + "  pastebin\n")
    assert main(["key", "check", "--home", home]) == 0
    capsys.readouterr()
    assert main(["key", "check", "--home", home, "--known-keys", str(leaked)]) == 1
    said = capsys.readouterr().out
    assert "its private key is published: pastebin" in said
    assert hashlib.sha256(b"firmware").hexdigest() in said
    assert "VX-200" in said


def test_key_check_looks_at_what_the_home_issued_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(tmp_path / "home")
    assert main(["init", home]) == 0
    assert main(["key", "enrol", "mcuboot", "--home", home]) == 0
    capsys.readouterr()
    assert main(["key", "check", "--home", home, "--json"]) == 0
    places = [place for line in capsys.readouterr().out.splitlines() for place in json.loads(line)["places"]]
    for place in ("trust.toml", "ca.pem", "trust.d/mcuboot.pem", "register/journal.jsonl"):
        assert any(place in one for one in places), place


def test_a112_a_request_for_a_published_key_is_refused() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "release")])
    known = load_der_private_key(PUBLISHED.read_bytes(), None)
    for key, accepted in ((generate(KeyKind.P256), True), (known, False)):
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        request = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]
        if accepted:
            assert read_request(request, "request").subject.common_name == "release"
        else:
            with pytest.raises(WeakAlgorithm, match="published"):
                read_request(request, "request")
