"""What a signature is bound to: its signer's certificate, the delivered bytes, its own file; and several signatures together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kit.forge import forge, signer_info
from kit.pki import NOW, Pki, Signer, p7s, soft_key
from kit.trust import RULE, believed, codes, judge, signed_file
from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import ECDSA_SHA256, check_signature
from sealwright.envelope.cms_write import signed_attributes, to_be_signed
from sealwright.envelope.kinds import FILE
from sealwright.pki.authority import Issuer, Subject, issue
from sealwright.pki.profiles import CODE_SIGNER
from sealwright.trust.verdict import Outcome

DATA = b"firmware of a drive"
TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
Point = tuple[int, int]
BASE: Point = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.make()


@pytest.fixture(scope="module")
def release(pki: Pki) -> Signer:
    return pki.leaf("release")


def plus(a: Point | None, b: Point | None) -> Point | None:
    """Two points of P-256 added."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % PRIME == 0:
        return None
    slope = (
        (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, PRIME) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, PRIME)
    ) % PRIME
    x = (slope * slope - a[0] - b[0]) % PRIME
    return x, (slope * (a[0] - x) - a[1]) % PRIME


def times(factor: int, point: Point) -> Point | None:
    total, double = None, point
    while factor:
        total = plus(total, double) if factor & 1 else total
        double, factor = plus(double, double), factor >> 1
    return total


def other_key(value: bytes, message: bytes, known: ec.EllipticCurvePublicKey) -> ec.EllipticCurvePublicKey:
    """The other key under which an ECDSA signature verifies over the same message: nobody knows its private half (A025)."""
    r, s = decode_dss_signature(value)
    digest = int.from_bytes(Digest.of(message).value, "big")
    y = pow(
        r**3 - 3 * r + int("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b", 16),
        (PRIME + 1) // 4,
        PRIME,
    )
    for point in ((r, y), (r, PRIME - y)):
        inverse = pow(r, -1, ORDER)
        found = plus(times(s * inverse % ORDER, point), times(-digest * inverse % ORDER, BASE))
        assert found is not None
        key = ec.EllipticCurvePublicNumbers(*found, ec.SECP256R1()).public_key()
        if key != known:
            return key
    raise AssertionError("both points give one key")


def test_a025_a_second_key_that_fits_the_same_value_takes_no_signature_over(
    tmp_path: Path, pki: Pki, release: Signer
) -> None:
    """The thief has a certificate of the same authority for that key, and claims the maker's signature as his own."""
    made = release.signing
    attributes = signed_attributes(made, FILE, Digest.of(DATA), NOW)
    message = to_be_signed(attributes, made.algorithm).data
    value = release.key.sign([to_be_signed(attributes, made.algorithm)])[0]
    key = other_key(value, message, release.key.info.public_key)  # type: ignore[arg-type]
    check_signature(key, ECDSA_SHA256, value, message, subject="the same value under another key")
    issuer = Issuer(pki.intermediate.key, pki.intermediate.certificate)
    der = issue(CODE_SIGNER, Subject("thief", "ACME"), key, issuer, NOW, pki.provenance)
    thief = Signer(der, release.chain, soft_key())
    path = tmp_path / "drive.bin"
    path.write_bytes(DATA)
    for by, outcome in ((release, TRUSTED), (thief, REJECTED)):
        bag = sorted([release.certificate, thief.certificate, *release.chain])
        forged = forge(release, DATA, value=value, sid=by.signing.sid, certificates=bag)
        (tmp_path / "drive.bin.p7s").write_bytes(forged)
        assert judge(path, believed(pki)).outcome is outcome
    # with an ESS attribute for his own certificate the signed bytes are others, and the value no longer fits
    own = forge(thief, DATA, value=value, certificates=sorted([thief.certificate, *release.chain]))
    (tmp_path / "drive.bin.p7s").write_bytes(own)
    assert codes(judge(path, believed(pki))) == ["SW-SIGNATURE-INVALID"]


@pytest.mark.parametrize(
    "how", ["no signer", "certificates alone", "an empty value", "an empty file", "a value of zeros"]
)
def test_a038_what_nobody_signed_is_never_valid(tmp_path: Path, pki: Pki, release: Signer, how: str) -> None:
    path = signed_file(tmp_path, release, DATA)
    assert judge(path, believed(pki)).outcome is TRUSTED
    forged = {
        "no signer": lambda: forge(release, DATA, infos=[]),
        "certificates alone": lambda: forge(release, DATA, infos=[], named_digests=[]),
        "an empty value": lambda: forge(release, DATA, value=b""),
        "an empty file": lambda: b"",
        "a value of zeros": lambda: forge(release, DATA, value=bytes(70)),
    }[how]()
    (tmp_path / "drive.bin.p7s").write_bytes(forged)
    assert judge(path, believed(pki)).outcome is REJECTED


def test_a040_content_inside_the_signature_never_stands_for_the_delivered_file(
    tmp_path: Path, pki: Pki, release: Signer
) -> None:
    path = tmp_path / "drive.bin"
    attached = forge(release, DATA, content=DATA)
    (tmp_path / "drive.bin.p7s").write_bytes(attached)
    path.write_bytes(DATA)
    assert judge(path, believed(pki)).outcome is TRUSTED
    for delivered in (DATA + b"!", b"", attached):
        path.write_bytes(delivered)
        assert codes(judge(path, believed(pki))) == ["SW-FILE-CHANGED"]
    (tmp_path / "drive.bin.p7s").write_bytes(forge(release, DATA, content=DATA + b"!"))
    path.write_bytes(DATA)
    assert judge(path, believed(pki)).outcome is REJECTED


@pytest.mark.parametrize("broken", ["maker", "plant"])
def test_a039_of_two_signature_files_the_broken_one_is_named_and_only_its_own_slot_is_empty(
    tmp_path: Path, pki: Pki, release: Signer, broken: str
) -> None:
    plant = pki.leaf("plant")
    path = signed_file(tmp_path, release, DATA)
    acceptance = tmp_path / "drive.bin.plant.p7s"
    acceptance.write_bytes(p7s(plant, DATA))
    slots = [{"anchors": ["root"], "slot": "maker"}]
    rule = RULE | {"signer": slots}
    assert judge(path, believed(pki, rule=[rule])).outcome is TRUSTED
    spoilt = tmp_path / ("drive.bin.p7s" if broken == "maker" else "drive.bin.plant.p7s")
    spoilt.write_bytes(p7s(release if broken == "maker" else plant, DATA + b"!"))
    verdict = judge(path, believed(pki, rule=[rule]))
    assert verdict.outcome is (REJECTED if broken == "maker" else TRUSTED)
    ignored = [f.subject for f in verdict.findings if f.code == "SW-SIGNATURE-IGNORED"]
    assert ignored == ([] if broken == "maker" else ["drive.bin.plant.p7s"])


def test_a039_of_two_signers_in_one_file_the_broken_one_hides_nothing_and_lends_nothing(
    tmp_path: Path, pki: Pki, release: Signer
) -> None:
    other = pki.leaf("other", purposes=["1.3.6.1.5.5.7.3.41"])
    path = tmp_path / "drive.bin"
    path.write_bytes(DATA)
    certificates = sorted([release.certificate, other.certificate, *release.chain])
    good, bad = signer_info(release, DATA), signer_info(release, DATA, value=bytes(70))
    cases = [
        ([good], TRUSTED),
        ([good, signer_info(other, DATA)], TRUSTED),
        ([good, signer_info(other, DATA, value=b"0")], TRUSTED),
        ([good, bad], TRUSTED),
        ([bad, signer_info(other, DATA)], REJECTED),
        ([bad], REJECTED),
    ]
    for infos, outcome in cases:
        forged = forge(release, DATA, infos=infos, certificates=certificates)
        (tmp_path / "drive.bin.p7s").write_bytes(forged)
        assert judge(path, believed(pki)).outcome is outcome


def test_a169_the_signature_that_is_named_is_the_only_one_that_counts(
    tmp_path: Path, pki: Pki, release: Signer
) -> None:
    stranger = Pki.make("EVIL").leaf()
    path = signed_file(tmp_path, stranger, DATA)
    named = tmp_path / "elsewhere.p7s"
    named.write_bytes(p7s(release, DATA))
    for_other = tmp_path / "for-other.p7s"
    for_other.write_bytes(p7s(release, DATA + b"!"))
    os.mkfifo(tmp_path / "pipe")
    assert judge(path, believed(pki)).outcome is REJECTED
    assert judge(path, believed(pki), signature=str(named)).outcome is TRUSTED
    for wrong in (for_other, path, tmp_path, tmp_path / "pipe", tmp_path / "missing.p7s", tmp_path / "drive.bin.p7s"):
        assert judge(path, believed(pki), signature=str(wrong)).outcome is REJECTED
    # a name that says another slot fills that slot and no other
    plants = tmp_path / "elsewhere.plant.p7s"
    plants.write_bytes(named.read_bytes())
    assert codes(judge(path, believed(pki), signature=str(plants))) == ["SW-SIGNATURE-MISSING"]
