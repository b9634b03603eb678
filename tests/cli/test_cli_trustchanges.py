"""`trust diff` in sentences: no difference goes unsaid, and what asks for less is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from kit.notes import verifier_key
from kit.pki import DAY, NOW, Pki, person_key
from kit.trust import OFFICER, RECOVERY, RULE, person, quorum, trust_bytes, trust_parts
from sealwright.artifact.digest import Digest
from sealwright.cli.trustchanges import Change, Weight, changes
from sealwright.envelope.verifierkey import NoteType
from sealwright.trust.model import TrustFile, Withdrawal
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust

PKI, OTHER = Pki.make(), Pki.make("Other")
NEW_OFFICER = person_key()
PEOPLE: list[Toml] = [person("olga", OFFICER), person("rolf", RECOVERY), person("jan", NEW_OFFICER)]
KEY = "sha256:" + "1" * 64
ANCHOR: dict[str, Toml] = {"name": "root", "environment": "production", "certificate": PKI.root.pem}
SECOND: dict[str, Toml] = {"name": "other", "environment": "production", "certificate": OTHER.root.pem}
SIGNER: dict[str, Toml] = {"anchors": ["root"], "purposes": ["updatePackageSigning"]}
FULL: dict[str, Toml] = {
    **RULE,
    "timestamp": "required",
    "fresh_for": "90d",
    "grace": "10d",
    "minimum_generation": 3,
    "hardware": ["cpu"],
    "signer": [{**SIGNER, "count": 2, "persons": ["olga", "jan"]}],
}


def parsed(changed: Mapping[str, Toml]) -> TrustFile:
    parts = trust_parts(PKI, person=PEOPLE)
    return parse_trust(trust_bytes({name: part for name, part in {**parts, **changed}.items() if part}), "trust.toml")


def between(before: Mapping[str, Toml], after: Mapping[str, Toml]) -> list[Change]:
    return changes(parsed(before), parsed({"version": 2, **after}))


R, A, O = Weight.REMOVES, Weight.ADDS, Weight.OTHER  # noqa: E741
CRL: dict[str, Toml] = {"issuer": PKI.root.pem, "min_number": 3, "max_age": {"install": "30d"}}
EVIDENCE: dict[str, Toml] = {"key": KEY, "provenance": "hardware-claimed"}
LOG: dict[str, Toml] = {"name": "log", "vkey": verifier_key("l.example", NoteType.LOG)}
WITNESS: dict[str, Toml] = {"name": "w", "vkey": verifier_key("w.example", NoteType.WITNESS)}
LEFT: dict[str, Toml] = {**person("jan", NEW_OFFICER), "until": NOW}
PERMIT: dict[str, Toml] = {"name": "night", "kinds": ["unlock"], "persons": ["jan"], "longest": "8h"}
TABLE: list[tuple[str, Mapping[str, Toml], Mapping[str, Toml], Weight, bool, str]] = [
    ("another id", {}, {"id": "x"}, O, True, "another trust file"),
    ("an older version", {"version": 3}, {"version": 2}, O, True, "does not follow"),
    ("permits added", {}, {"permit": [PERMIT]}, A, True, "permits are taken: night: unlock for"),
    ("permits gone", {"permit": [PERMIT]}, {}, R, False, "no longer taken"),
    ("permits longer", {"permit": [PERMIT]}, {"permit": [{**PERMIT, "longest": "9h"}]}, A, True, "at most 9 hours"),
    ("becomes a trial", {}, {"stage": "trial"}, O, True, "a trial"),
    ("no trial", {"stage": "trial"}, {}, O, False, "no trial any more"),
    ("issued later", {}, {"issued": NOW}, O, False, "issued 2026-11-01 12:00 UTC instead"),
    ("issued earlier", {}, {"issued": NOW - 9 * DAY}, O, True, "before the old one"),
    ("ends sooner", {}, {"expires": NOW + DAY}, R, False, "ends already"),
    ("ends later", {}, {"expires": NOW + 900 * DAY}, O, False, "ends 2029"),
    ("threshold lowered", {"officers": quorum(2, olga=OFFICER, jan=NEW_OFFICER)},
     {"officers": quorum(1, olga=OFFICER, jan=NEW_OFFICER)}, A, True, "only 1 officers sign instead of 2"),
    ("threshold raised", {"officers": quorum(1, olga=OFFICER, jan=NEW_OFFICER)},
     {"officers": quorum(2, olga=OFFICER, jan=NEW_OFFICER)}, R, False, "2 officers sign instead of 1"),
    ("officer added", {}, {"officers": quorum(1, olga=OFFICER, jan=NEW_OFFICER)}, A, True, "jan becomes an officer"),
    ("officer gone", {"officers": quorum(1, olga=OFFICER, jan=NEW_OFFICER)}, {}, R, False, "jan is no officer any more"),
    ("recovery changed", {}, {"recovery": quorum(1, jan=NEW_OFFICER)}, A, True, "jan gets a sealed recovery key"),
    ("person gone", {}, {"person": PEOPLE[:2]}, R, False, "jan of ACME is no person"),
    ("person new", {"person": PEOPLE[:2]}, {}, A, False, "jan of ACME is new"),
    ("person leaves", {}, {"person": [*PEOPLE[:2], LEFT]}, R, False, "what jan signs counts until 2026-11-01"),
    ("person stays", {"person": [*PEOPLE[:2], LEFT]}, {}, A, True, "until without end"),
    ("person's key", {"person": [*PEOPLE[:2], person("jan")]}, {}, A, False, "jan signs with one more key"),
    ("organisation", {}, {"person": [*PEOPLE[:2], person("jan", NEW_OFFICER, organisation="B")]}, O, True, "ACME becomes B"),
    ("role", {}, {"person": [*PEOPLE[:2], {**person("jan", NEW_OFFICER), "roles": ["x"]}]}, O, False, "none becomes x"),
    ("anchor added", {}, {"anchor": [ANCHOR, SECOND]}, A, False, "certificates of CN=Other root"),
    ("public anchor", {}, {"anchor": [ANCHOR, {**SECOND, "public": True}]}, A, True, "PUBLIC authority"),
    ("anchor gone", {"anchor": [ANCHOR, SECOND]}, {}, R, False, "no longer count (other, production)"),
    ("anchor private", {"anchor": [ANCHOR, {**SECOND, "public": True}]}, {"anchor": [ANCHOR, SECOND]}, A, True, "becomes other"),
    ("anchor renamed", {"anchor": [ANCHOR, SECOND]}, {"anchor": [ANCHOR, {**SECOND, "name": "o2"}]}, O, False, "becomes o2"),
    ("intermediate", {}, {"intermediate": [{"certificate": OTHER.intermediate.pem}]}, O, False, "holds the certificate"),
    ("certificate moved", {"intermediate": [{"certificate": OTHER.intermediate.pem}]},
     {"certificate": [{"certificate": OTHER.intermediate.pem}]}, O, False, "compare the texts"),
    ("authority gone", {}, {"authority": []}, R, False, "no longer prove a date"),
    ("authority new", {"authority": []}, {}, A, False, "prove a date"),
    ("authority pinned", {}, {"authority": [{"name": "timestamps", "anchor": PKI.root.pem, "key": KEY}]}, A, True, KEY),
    ("crl wanted", {}, {"crl": [CRL]}, R, False, "revocation must be known"),
    ("crl no longer", {"crl": [CRL]}, {}, A, True, "no longer has to be known"),
    ("crl looser", {"crl": [CRL]}, {"crl": [{**CRL, "max_age": {"install": "60d"}}]}, A, True, "60 days"),
    ("crl number back", {"crl": [CRL]}, {"crl": [{**CRL, "min_number": 2}]}, A, True, "number 2"),
    ("crl stricter", {"crl": [CRL]}, {"crl": [{**CRL, "min_number": 4}]}, R, False, "number 4"),
    ("denied", {}, {"deny": [{"key": KEY, "reason": "stolen"}]}, R, False, "refused: key"),
    ("forgiven", {"deny": [{"key": KEY, "reason": "stolen"}]}, {}, A, True, "no longer refused"),
    ("denial dated", {"deny": [{"key": KEY, "reason": "x"}]}, {"deny": [{"key": KEY, "reason": "x", "since": NOW}]}, A, True,
     "no longer refused"),
    ("minimum raised", {"minimum": {"pump": 3}}, {"minimum": {"pump": 4}}, R, False, "generation 4 or newer (it was 3)"),
    ("minimum lowered", {"minimum": {"pump": 3}}, {"minimum": {"pump": 2}}, A, True, "as old as generation 2"),
    ("minimum dropped", {"minimum": {"pump": 0}}, {}, A, True, "any"),
    ("evidence", {}, {"evidence": [EVIDENCE]}, A, True, "counts as hardware-claimed"),
    ("evidence gone", {"evidence": [EVIDENCE]}, {}, R, False, "no longer counts as"),
    ("evidence raised", {"evidence": [EVIDENCE]}, {"evidence": [{**EVIDENCE, "provenance": "hardware-attested"}]}, A, True,
     "hardware-attested"),
    ("log", {}, {"log": [LOG]}, A, False, "the log log counts"),
    ("log gone", {"log": [LOG]}, {}, R, False, "no longer counts"),
    ("witness", {}, {"witness": [WITNESS]}, A, True, "the witness w counts"),
    ("interpreter", {}, {"interpreter": [{"kind": "sh", "path": "/bin/sh"}]}, O, True, "run by /bin/sh"),
    ("tuf root", {}, {"tuf_root": KEY}, O, True, "release repository"),
    ("repository", {}, {"repository": [{"name": "nordhof", "root": KEY}]}, O, True, "release repository nordhof is"),
    ("repository gone", {"repository": [{"name": "nordhof", "root": KEY}]}, {}, O, True, "release repository nordhof is none"),
    ("rule new", {}, {"rule": [RULE, {**RULE, "name": "second"}]}, A, False, "new rule second"),
    ("rule gone", {"rule": [RULE, {**RULE, "name": "second"}]}, {}, R, True, "no rule second any more"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "weight", "attention", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_each_change_is_said_with_its_weight_and_its_mark(
    before: Mapping[str, Toml], after: Mapping[str, Toml], weight: Weight, attention: bool, words: str
) -> None:
    if "stage" not in before:
        assert changes(parsed(before), parsed(before)) == []
    said = between(before, after)
    match = [one for one in said if words in one.sentence]
    assert match, said
    assert (match[0].weight, match[0].attention) == (weight, attention)


LOOSER: Sequence[tuple[str, Toml]] = [
    ("timestamp", "optional"), ("fresh_for", "91d"), ("fresh_for", None), ("grace", "11d"), ("minimum_generation", 2),
    ("minimum_generation", None), ("hardware", None), ("hardware", ["cpu", "cpu2"]),
    ("without_clock", "allow"), ("products", ["pump"]), ("formats", ["pe"]), ("signer", [{**SIGNER, "count": 1, "persons": ["olga", "jan"]}]),
    ("signer", [{**SIGNER, "count": 2}]), ("signer", [{**SIGNER, "count": 2, "persons": ["olga", "jan"], "purposes": ["any"]}]),
    ("signer", [{**SIGNER, "count": 2, "persons": ["olga", "rolf"]}]), ("signer", [{**SIGNER, "slot": "plant"}]),
]  # fmt: skip
STRICTER: Sequence[tuple[str, Toml]] = [
    ("log", "required"), ("fresh_for", "89d"), ("grace", None), ("minimum_generation", 4),
    ("signer", [{**SIGNER, "count": 2, "persons": ["olga", "jan"]}, {**SIGNER, "slot": "plant"}]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), LOOSER)
def test_a_rule_that_asks_for_less_is_marked(name: str, value: Toml) -> None:
    changed = {key: one for key, one in {**FULL, name: value}.items() if one is not None}
    (found,) = between({"rule": [FULL]}, {"rule": [changed]})
    assert (found.weight, found.attention) == (A, True)
    assert "asks for less" in found.sentence


@pytest.mark.parametrize(("name", "value"), STRICTER)
def test_a_rule_that_asks_for_more_trusts_less(name: str, value: Toml) -> None:
    changed = {key: one for key, one in {**FULL, name: value}.items() if one is not None}
    (found,) = between({"rule": [FULL]}, {"rule": [changed]})
    assert (found.weight, found.attention) == (R, False)


def test_what_may_stand_in_for_a_makers_signature_is_weighed() -> None:
    receiver = {**SIGNER, "slot": "plant", "count": 0}
    takes = {**RULE, "signer": [SIGNER, receiver], "grades": ["compared"]}
    more = {**takes, "grades": ["compared", "uncompared"]}
    by_others = {**takes, "signer": [SIGNER, receiver, {**receiver, "persons": ["jan"]}]}
    never_signs = {**takes, "signer": [receiver]}
    for old, new, weight in (
        ({**RULE, "signer": [SIGNER]}, takes, A), (takes, more, A), (more, takes, R), (takes, by_others, A), (by_others, takes, R),
        (takes, never_signs, R), (never_signs, takes, A),
    ):  # fmt: skip
        (found,) = between({"rule": [old]}, {"rule": [new]})
        assert (found.weight, found.attention) == (weight, weight is A)


def test_the_mode_of_a_rule_and_who_answers_for_it_are_said() -> None:
    owned = {**RULE, "owner": "eva", "reason": "tested", "review": NOW + 99 * DAY}
    (found,) = between({"rule": [owned]}, {"rule": [{**owned, "mode": "enforce"}]})
    assert (found.weight, "audit becomes enforce" in found.sentence) == (R, True)
    (found,) = between({"rule": [{**owned, "mode": "enforce"}]}, {"rule": [{**owned, "mode": "warn"}]})
    assert (found.weight, found.attention) == (A, True)
    (found,) = between({"rule": [owned]}, {"rule": [{**owned, "owner": "jan"}]})
    assert (found.weight, found.attention) == (O, False)


def test_an_officer_with_two_keys_is_pointed_out() -> None:
    keys = quorum(1, olga=OFFICER)["key"] + quorum(1, olga=NEW_OFFICER)["key"]  # type: ignore[operator]
    said = between({}, {"officers": {"threshold": 1, "key": keys}})
    assert [one.attention for one in said if "holds 2 officers' keys" in one.sentence] == [True]


def test_every_field_of_a_trust_file_is_compared() -> None:
    old = parsed({})
    different = {
        "id": "x", "version": 0, "issued": NOW, "expires": NOW, "stage": "trial", "persons": (), "anchors": (),
        "officers": parsed({"officers": quorum(1, jan=NEW_OFFICER)}).officers, "recovery": parsed({"recovery": quorum(1, jan=NEW_OFFICER)}).recovery,
        "intermediates": (OTHER.root.certificate,), "certificates": (OTHER.root.certificate,), "authorities": (), "rules": (),
        "logs": parsed({"log": [LOG]}).logs, "witnesses": parsed({"witness": [WITNESS]}).witnesses, "crls": parsed({"crl": [CRL]}).crls,
        "denied": parsed({"deny": [{"key": KEY, "reason": "x"}]}).denied, "minimums": {"pump": 1},
        "evidence": parsed({"evidence": [EVIDENCE]}).evidence, "tuf_root": Digest.of(b""),
        "interpreters": parsed({"interpreter": [{"kind": "sh", "path": "/bin/sh"}]}).interpreters,
        "witness_threshold": 3, "floor_lowered_in": 2, "algorithms": (Withdrawal("sha256", NOW),),
        "permits": parsed({"permit": [PERMIT]}).permits,
        "repositories": parsed({"repository": [{"name": "nordhof", "root": KEY}]}).repositories,
    }  # fmt: skip
    # layouts are compared in the same way as logs; making one takes a description
    assert set(TrustFile._fields) - set(different) == {"text", "digest", "layouts"}
    for name, value in different.items():
        digest = Digest.of(name.encode())
        assert changes(old, old._replace(**{name: value, "digest": digest})), name
