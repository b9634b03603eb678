"""Long revocation lists: answered from the received bytes exactly as the slow walk over every entry answers."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kit.certs import DAY, NOW, UNKNOWN_CRITICAL, entry, listed, made
from sealwright.errors import MalformedTrust
from sealwright.trust import revocation as module
from sealwright.trust.longlist import LongList
from sealwright.trust.revocation import CrlTable

CA = made("CA", ca=True)
_REASONS = [None, *(r for r in x509.ReasonFlags if r.value not in ("unspecified", "removeFromCRL"))]


def crowd(seed: int, count: int = 60, sizes: tuple[int, ...] = (160, 128, 152, 64)) -> list[x509.RevokedCertificate]:
    """Entries of every usual shape."""
    dice = random.Random(seed)
    serials = [dice.getrandbits(dice.choice(sizes) - 1) | 1 << (dice.choice(sizes) - 9) for _ in range(count)]
    return [
        entry(
            serial,
            NOW - timedelta(minutes=dice.randrange(3_000_000)),
            dice.choice(_REASONS),
            NOW - timedelta(minutes=dice.randrange(3_000_000)) if dice.random() < 0.5 else None,
        )
        for serial in serials
    ]


def _both(der: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[CrlTable, CrlTable]:
    tables = []
    for limit in (1, 10**9):
        monkeypatch.setattr(module, "LONG_LIST", limit)
        module._table.cache_clear()
        tables.append(CrlTable.load(der, [CA.certificate]))
    module._table.cache_clear()
    return tables[0], tables[1]


@pytest.mark.parametrize("seed", range(12))
def test_a_long_list_says_what_the_slow_walk_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = crowd(seed)
    doubled = [entry(one.serial_number, NOW - DAY, x509.ReasonFlags.certificate_hold) for one in entries[:5]]
    fast, slow = _both(listed(CA, *entries, *doubled), monkeypatch)
    assert not isinstance(slow.entries, LongList)
    dice = random.Random(seed)
    asked = [*slow.entries, *(dice.getrandbits(159) for _ in range(20)), 0, 1, 127, 128, -1, -128]
    for serial in asked:
        assert fast.entries.get(serial) == slow.entries.get(serial)
    assert dict(fast.entries) == dict(slow.entries)


def test_the_fast_way_is_taken_for_usual_entries_and_only_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = crowd(1, sizes=(160,))
    fast, _ = _both(listed(CA, *usual), monkeypatch)
    assert isinstance(fast.entries, LongList)
    odd = [
        entry(5, NOW),
        entry(1 << 100, NOW.replace(year=2060)),
        entry(1 << 100, NOW, extra=[(UNKNOWN_CRITICAL, False)]),
        entry(1 << 100, NOW, x509.ReasonFlags.superseded, extra=[(UNKNOWN_CRITICAL, False)]),
        entry(1 << 100, NOW, extra=[(x509.CRLReason(x509.ReasonFlags.superseded), True)]),
        entry(1 << 100, NOW, x509.ReasonFlags.remove_from_crl),
    ]
    for place in (0, 30, 60):
        for one in odd:
            fast, slow = _both(listed(CA, *usual[:place], one, *usual[place:]), monkeypatch)
            assert not isinstance(fast.entries, LongList)
            assert fast == slow


@pytest.mark.parametrize("place", [0, 30, 60])
def test_a048_one_unknown_critical_extension_in_a_crowd_refuses_the_list(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONG_LIST", 1)
    usual = crowd(2)
    assert CrlTable.load(listed(CA, *usual), [CA.certificate])
    for extra, why in (
        ([(UNKNOWN_CRITICAL, True)], "an entry with the unknown"),
        ([(x509.CertificateIssuer([x509.DirectoryName(CA.certificate.subject)]), True)], "indirect"),
    ):
        bad = entry(1 << 150, NOW, x509.ReasonFlags.superseded, extra=extra)
        with pytest.raises(MalformedTrust, match=why):
            CrlTable.load(listed(CA, *usual[:place], bad, *usual[place:]), [CA.certificate])


def test_a_serial_hidden_in_another_one_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    outer = int.from_bytes(b"\x11\x02\x09\x22" + b"\x33" * 8 + b"\x44" * 8, "big")
    inner = int.from_bytes(b"\x22" + b"\x33" * 8, "big")
    fast, slow = _both(listed(CA, entry(outer, NOW), entry(1 << 150, NOW)), monkeypatch)
    assert isinstance(fast.entries, LongList)
    assert outer in fast.entries
    assert inner not in fast.entries
    assert inner not in slow.entries


KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", list(KEYS))
def test_a_long_list_is_signed_by_its_issuer_and_unchanged(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG_LIST", 1)
    ca, stranger = (made("CA", ca=True, key=KEYS[kind]()) for _ in range(2))
    der = listed(ca, *crowd(3), hashed=hashes.SHA256())
    assert CrlTable.load(der, [ca.certificate])
    others = [made("CA", ca=True, key=make()) for make in KEYS.values()]
    for wrong in (stranger, *others):
        with pytest.raises(MalformedTrust, match="its signature"):
            CrlTable.load(der, [wrong.certificate])
    at = der.index(b"\x17\x0d", len(der) // 2) + 3
    changed = der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]
    with pytest.raises(MalformedTrust):
        CrlTable.load(changed, [ca.certificate])
