"""Attacks on what a trust file says: slips of the pen that would weaken it, and bytes made to keep a parser busy."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.notes import verifier_key
from kit.pki import CLAIMED, DAY, NOW, Issuer, Pki, Subject, issue, person_key
from kit.pki import Signer as Certified
from kit.trust import RULE, believed, codes, judge, public_pem, quorum, signed_file, trust_bytes, trust_parts
from sealwright.envelope.verifierkey import NoteType
from sealwright.errors import MalformedTrust, SealwrightError
from sealwright.keys.key import KeyKind
from sealwright.pki.profiles import ROOT
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome

PKI = Pki.make()
ANCHOR = {"name": "root", "environment": "production", "certificate": PKI.root.pem}
KEY = PKI.leaf().key_digest
OTHER_ALGORITHM = "sha512:" + "0" * 128
COMPRESSED_P256 = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
ARTIFACT = "sha256:" + "0" * 64


def parse(**changes: Toml) -> object:
    return parse_trust(trust_bytes(trust_parts(PKI, **changes)), "trust.toml")


def deny(**what: Toml) -> dict[str, Toml]:
    return {"deny": [what | {"reason": "recalled"}]}


def rule(**what: Toml) -> dict[str, Toml]:
    return {"rule": [RULE | what]}


def pinned(**pins: Toml) -> dict[str, Toml]:
    return rule(signer=[{"anchors": ["root"], "pins_until": NOW + 30 * DAY} | pins])


@pytest.mark.parametrize(
    ("right", "slip", "said"),
    [
        (deny(key=KEY), deny(key=OTHER_ALGORITHM), "`key`"),
        (deny(certificate=KEY), deny(certificate=OTHER_ALGORITHM), "`certificate`"),
        (deny(key=KEY), deny(key=KEY.upper()), "`key`"),
        (deny(artifact=ARTIFACT, format="manifest"), deny(artifact=ARTIFACT, format="manifset"), "`format`"),
        (deny(product="pump", below=7), deny(product="pump"), "`below`"),
        (deny(key=KEY), deny(key=KEY, product="pump", below=7), "exactly one"),
        (rule(formats=["manifest"]), rule(formats=["manifset"]), "`formats`"),
        (rule(products=["pump"]), rule(products=[]), "`products`"),
        (pinned(keys=[KEY]), pinned(keys=[OTHER_ALGORITHM]), "`keys`"),
        (pinned(keys=[KEY]), pinned(keys=[]), "`keys`"),
        (rule(fresh_for="30d"), rule(fresh_for="-30d"), "`fresh_for`"),
        (rule(minimum_generation=3), rule(minimum_generation=-3), "`minimum_generation`"),
        ({"minimum": {"pump": 3}}, {"minimum": {"pump": True}}, "`pump`"),
    ],
)
def test_a106_a_slip_of_the_pen_that_would_weaken_the_file_is_refused(
    right: dict[str, Toml], slip: dict[str, Toml], said: str
) -> None:
    assert parse(**right)
    with pytest.raises(MalformedTrust) as caught:
        parse(**slip)
    assert said in caught.value.what


def test_a030_one_key_is_an_anchor_of_one_environment_only() -> None:
    public = PKI.root.key.info.public_key
    again = issue(ROOT, Subject("another name", "ACME"), public, Issuer(PKI.root.key), NOW - 30 * DAY, CLAIMED)
    pem = Certified(again, (), PKI.root.key).pem
    second = {"name": "again", "environment": "production", "certificate": pem}
    assert parse(anchor=[ANCHOR, second])
    with pytest.raises(MalformedTrust, match="another environment"):
        parse(anchor=[ANCHOR, second | {"environment": "development"}])


def test_a030_a_test_authority_of_the_same_name_signs_nothing_for_production(tmp_path: Path) -> None:
    test = Pki.make()
    assert test.root.x509.subject == PKI.root.x509.subject
    anchors = [ANCHOR, {"name": "test root", "environment": "test", "certificate": test.root.pem}]
    trust = believed(PKI, anchor=anchors)
    assert judge(signed_file(tmp_path, PKI.leaf()), trust).outcome is Outcome.TRUSTED
    verdict = judge(signed_file(tmp_path, test.leaf()), trust)
    assert (verdict.outcome, codes(verdict)) == (Outcome.REJECTED, ["SW-SIGNER-NOT-ALLOWED"])


def test_a106_a_signers_own_certificate_is_an_anchor_only_with_an_end(tmp_path: Path) -> None:
    leaf = PKI.leaf()
    anchor = ANCHOR | {"certificate": leaf.pem}
    stated = pinned(purposes=["updatePackageSigning"])
    trust = believed(PKI, anchor=[anchor], authority=None, **stated)
    path = signed_file(tmp_path, leaf)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    assert judge(path, trust, NOW + timedelta(days=31)).outcome is Outcome.REJECTED
    with pytest.raises(MalformedTrust, match="only with `pins_until`"):
        parse(anchor=[anchor], authority=None)


def test_a106_a_key_in_other_clothes_is_the_same_key() -> None:
    """One key twice fills no quorum of two, and as a compressed point it is none (A023)."""
    key, other = person_key(), person_key()
    people: list[Toml] = [{"id": name, "organisation": "ACME"} for name in ("olga", "otto", "rolf")]
    assert parse(person=people, officers=quorum(2, olga=key, otto=other))
    point = key.key.info.public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    body = base64.encodebytes(COMPRESSED_P256 + point).decode()
    dressed = f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n"
    for again, said in ((public_pem(key), "a different key"), (dressed, "encoding that is not accepted")):
        twice = [{"person": "olga", "key": public_pem(key)}, {"person": "otto", "key": again}]
        with pytest.raises(MalformedTrust, match=said):
            parse(person=people, officers={"threshold": 2, "key": twice})


@pytest.mark.parametrize("what", ["evidence", "crl", "witness"])
def test_a106_nothing_is_said_twice_with_the_second_word_winning(what: str) -> None:
    one: dict[str, Toml] = {
        "evidence": {"key": KEY, "provenance": "hardware-claimed"},
        "crl": {"issuer": PKI.root.pem, "min_number": 9},
        "witness": {"name": "north", "vkey": verifier_key("north", NoteType.WITNESS)},
    }
    assert parse(**{what: [one[what]]})
    with pytest.raises(MalformedTrust, match="used twice"):
        parse(**{what: [one[what], one[what]]})


def test_a106_weak_keys_are_no_officers() -> None:
    assert parse()
    strong = person_key(KeyKind.P384)
    people: list[Toml] = [{"id": name, "organisation": "ACME"} for name in ("olga", "rolf")]
    assert parse(person=people, officers=quorum(1, olga=strong))
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505
    for weak in (short, ec.generate_private_key(ec.SECP256K1())):
        pem = weak.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        with pytest.raises(MalformedTrust, match="accepted algorithm"):
            parse(person=people, officers={"threshold": 1, "key": [{"person": "olga", "key": pem}]})


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        b".".join([b"a"] * 500_000) + b" = 1\n",
        b"[" + b".".join([b"a"] * 500_000) + b"]\n",
        b"x = {" + b".".join([b'"a,"'] * 200_000) + b" = 1}\n",
        b"x = " + b"[" * 500_000,
        b"x = " + b"{a=" * 300_000,
        b"version = " + b"9" * 900_000,
        b'x = """' + b"\\\n" * 400_000,
        b'x = "' + b'\\"' * 400_000,
    ],
    ids=["dotted key", "dotted table", "quoted keys", "lists", "tables", "digits", "line ends", "quotes"],
)
def test_bytes_made_to_keep_the_parser_busy_are_refused_at_once(body: bytes) -> None:
    assert parse()
    with pytest.raises(SealwrightError):
        parse_trust(b"# sealwright trust 1\n" + body, "trust.toml")
