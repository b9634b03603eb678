"""RSA keys that share a prime with one of the register get no certificate (A010)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from kit.pki import CLAIMED, NOW, Pki
from sealwright.errors import KeyRefused
from sealwright.pki.authority import Issuer, Subject
from sealwright.pki.profiles import CODE_SIGNER
from sealwright.signing.register import Order, Register

PKI = Pki.make()
ISSUER = Issuer(PKI.intermediate.key, PKI.intermediate.certificate)


@dataclass(frozen=True)
class Primes:
    p: int
    q: int


def primes_of(key: rsa.RSAPrivateKey) -> Primes:
    numbers = key.private_numbers()
    return Primes(numbers.p, numbers.q)


def test_a010_a_key_that_shares_a_prime_with_another_is_not_certified(tmp_path: Path) -> None:
    keys = [rsa.generate_private_key(65537, 3072) for _ in range(2)]
    first, second = (primes_of(key) for key in keys)
    mixed = rsa.RSAPublicNumbers(65537, first.p * second.q).public_key()
    with Register.open(str(tmp_path / "register")) as register:
        register.issue(Order(CODE_SIGNER, Subject("first", "ACME"), keys[0].public_key(), CLAIMED), ISSUER, NOW)
        with pytest.raises(KeyRefused, match="shares a prime"):
            register.issue(Order(CODE_SIGNER, Subject("mixed", "ACME"), mixed, CLAIMED), ISSUER, NOW)
        register.issue(Order(CODE_SIGNER, Subject("second", "ACME"), keys[1].public_key(), CLAIMED), ISSUER, NOW)
        assert len(register.inventory.issued) == 2
