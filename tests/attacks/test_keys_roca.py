"""Keys as a broken library made them (A010, CVE-2017-15361): each prime is k * M + (65537**a mod M), and so is easily found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.pki import NOW, Pki
from sealwright.envelope.algorithms import check_rsa
from sealwright.errors import SealwrightError, WeakAlgorithm
from sealwright.keys.backends import open_key
from sealwright.keys.key import KeyKind
from sealwright.pki.authority import Issuer, Subject, issue
from sealwright.pki.profiles import CODE_SIGNER
from sealwright.trust.certificate import load_certificate


def broken_prime(bits: int, dice: random.Random) -> int:
    """A prime of the broken kind, below 2**bits; M is the product of the primes that fit with some room for k."""
    product, number = 1, 2
    while product.bit_length() < bits - 60:
        product *= number
        number = next(n for n in range(number + 1, 2 * number + 2) if all(n % d for d in range(2, int(n**0.5) + 1)))
    least = (3 << (bits - 2)) // product
    while True:
        found = dice.randrange(least, (1 << bits) // product) * product + pow(65537, dice.randrange(1 << 64), product)
        if found % 65537 != 1 and pow(2, found - 1, found) == 1:
            return found


def broken_key(bits: int) -> rsa.RSAPrivateKey:
    dice = random.Random(bits)
    p, q = broken_prime(bits // 2, dice), broken_prime(bits // 2, dice)
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


@pytest.fixture(scope="module")
def broken() -> rsa.RSAPrivateKey:
    return broken_key(3072)


def test_a010_keys_of_the_broken_library_are_known_by_their_modulus(broken: rsa.RSAPrivateKey) -> None:
    for bits in (2048, 3072):
        check_rsa(rsa.generate_private_key(65537, bits).public_key(), subject="maker")
    for key in (broken, broken_key(2048)):
        with pytest.raises(WeakAlgorithm, match="CVE-2017-15361"):
            check_rsa(key.public_key(), subject="maker")


def test_a010_such_a_key_neither_signs_nor_gets_a_certificate(broken: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    pki = Pki.make()
    issuer = Issuer(pki.intermediate.key, pki.intermediate.certificate)
    good = rsa.generate_private_key(65537, 3072)
    for key, name in ((good, "good.pem"), (broken, "broken.pem")):
        path = tmp_path / name
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)
    open_key(f"file:{tmp_path / 'good.pem'}").close()
    with pytest.raises(WeakAlgorithm, match="ROCA"):
        open_key(f"file:{tmp_path / 'broken.pem'}")
    assert issue(CODE_SIGNER, Subject("release", "ACME"), good.public_key(), issuer, NOW, pki.provenance)
    with pytest.raises(SealwrightError, match="ROCA"):
        issue(CODE_SIGNER, Subject("release", "ACME"), broken.public_key(), issuer, NOW, pki.provenance)


def test_a010_a_certificate_of_such_a_key_is_refused_where_it_is_read(
    broken: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki = Pki.make()
    assert load_certificate(pki.leaf(kind=KeyKind.RSA3072).certificate, "release")
    issuer = Issuer(pki.intermediate.key, pki.intermediate.certificate)
    with monkeypatch.context() as blind:  # the attacker's own tools do not look
        blind.setattr("sealwright.envelope.algorithms._roca", lambda: ((2, frozenset()),))
        der = issue(CODE_SIGNER, Subject("release", "ACME"), broken.public_key(), issuer, NOW, pki.provenance)
    with pytest.raises(WeakAlgorithm, match="ROCA"):
        load_certificate(der, "release")
