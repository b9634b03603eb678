"""Keys that are retired and persons who leave: what was provably signed before still counts, what came later does not (A113)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from kit.pki import DAY, HOUR, NOW, Pki, Signer, p7s, person_key, soft_key
from kit.trust import RULE, believed, codes, judge, person, signed_file, trust_bytes, trust_parts
from sealwright.cli.trusttext import denial
from sealwright.errors import MalformedTrust
from sealwright.trust.certificate import facts
from sealwright.trust.model import Denied
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome, Purpose

PKI = Pki.make()
TSA = PKI.tsa()
RELEASE = PKI.leaf("release")
SINCE = NOW - 2 * DAY
KEY, CERTIFICATE = RELEASE.key_digest, str(facts(RELEASE.x509).certificate)
ISSUER_KEY = PKI.intermediate.key_digest
UNTRUSTED = Pki.make("Other").tsa()
DENIED = ["SW-DENIED-SIGNER"]


@pytest.mark.parametrize(
    ("denied", "tsa", "stamped", "refused"),
    [
        pytest.param([], None, None, [], id="nothing denied"),
        pytest.param([Denied("key", KEY, 0, "end of signing", SINCE)], TSA, SINCE - HOUR, [], id="key, proved before"),
        pytest.param([Denied("key", KEY, 0, "end of signing", SINCE)], TSA, SINCE, DENIED, id="key, proved that very second"),
        pytest.param([Denied("key", KEY, 0, "end of signing", SINCE)], TSA, SINCE + HOUR, DENIED, id="key, proved later"),
        pytest.param([Denied("key", KEY, 0, "end of signing", SINCE)], None, None, DENIED, id="key, not proved"),
        pytest.param([Denied("key", KEY, 0, "x", SINCE)], UNTRUSTED, SINCE - HOUR, DENIED, id="key, proved by a stranger"),
        pytest.param([Denied("key", KEY, 0, "stolen")], TSA, SINCE - HOUR, DENIED, id="key, without since"),
        pytest.param([Denied("certificate", CERTIFICATE, 0, "x", SINCE)], TSA, SINCE - HOUR, [], id="certificate, before"),
        pytest.param([Denied("certificate", CERTIFICATE, 0, "x", SINCE)], TSA, SINCE + HOUR, DENIED, id="certificate, later"),
        pytest.param([Denied("certificate", CERTIFICATE, 0, "x", SINCE)], None, None, DENIED, id="certificate, not proved"),
        pytest.param(
            [Denied("key", KEY, 0, "x", SINCE), Denied("key", KEY, 0, "stolen")],
            TSA, SINCE - HOUR, DENIED, id="retired, then found stolen",
        ),
        pytest.param(
            [Denied("key", KEY, 0, "stolen"), Denied("key", KEY, 0, "x", SINCE)],
            TSA, SINCE - HOUR, DENIED, id="the stricter entry counts in either order",
        ),
        pytest.param(
            [Denied("key", KEY, 0, "x", SINCE), Denied("key", KEY, 0, "x", SINCE - DAY)],
            TSA, SINCE - HOUR, DENIED, id="of two dates the earlier",
        ),
        pytest.param(
            [Denied("key", KEY, 0, "x", SINCE), Denied("certificate", CERTIFICATE, 0, "stolen")],
            TSA, SINCE - HOUR, DENIED, id="key retired, certificate denied",
        ),
        pytest.param(
            [Denied("key", ISSUER_KEY, 0, "x", SINCE)], TSA, SINCE - HOUR, DENIED, id="issuer of signer and authority retired"
        ),
        pytest.param(
            [Denied("key", TSA.key_digest, 0, "x", SINCE), Denied("key", KEY, 0, "x", SINCE)],
            TSA, SINCE - HOUR, DENIED, id="the authority's own key retired: it could give any time",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("purpose", [Purpose.INSTALL, Purpose.RUN])
def test_a113_a_retired_keys_signatures_count_where_they_are_proved_to_be_older(
    tmp_path: Path,
    denied: list[Denied],
    tsa: Signer | None,
    stamped: datetime | None,
    refused: list[str],
    purpose: Purpose,
) -> None:
    path = signed_file(tmp_path, RELEASE, at=SINCE - 5 * DAY, tsa=tsa, stamped=stamped)
    verdict = judge(path, believed(PKI, denied=denied), purpose=purpose)
    assert codes(verdict)[:1] == refused
    assert verdict.outcome is (Outcome.REJECTED if refused else Outcome.TRUSTED)
    said = [finding.code for finding in verdict.findings]
    assert ("SW-DENIED-SIGNER-LATER" in said) == (bool(denied) and not refused)


def test_the_refusal_of_a_retired_key_says_from_when_and_what_is_missing(tmp_path: Path) -> None:
    denied = [Denied("key", KEY, 0, "end of signing", SINCE)]
    (finding,) = [
        f for f in judge(signed_file(tmp_path, RELEASE), believed(PKI, denied=denied)).findings if f.code in DENIED
    ]
    assert "end of signing; the time of this signature is not proved" in finding.sentence
    assert "2026-10-30" in finding.sentence


def test_since_is_read_from_a_trust_file_and_shown(tmp_path: Path) -> None:
    entry: Toml = {"key": KEY, "reason": "rotated", "since": SINCE}
    trust = believed(PKI, deny=[entry])
    assert trust.denied == (Denied("key", KEY, 0, "rotated", SINCE),)
    assert denial(trust.denied[0]) == f"key {KEY}, for what is not proved to be older than 2026-10-30: rotated"
    assert judge(signed_file(tmp_path, RELEASE, tsa=TSA, stamped=SINCE - HOUR), trust).outcome is Outcome.TRUSTED


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"artifact": KEY, "since": SINCE}, "`since` must be left out"),
        ({"product": "pump", "below": 3, "since": SINCE}, "`since` must be left out"),
        ({"key": KEY, "since": "2026-10-30"}, "`since` must be a date and time"),
        ({"key": KEY, "since": True}, "`since` must be a date and time"),
        ({"key": KEY, "certificate": KEY}, "exactly one of"),
        ({"keys": f"{KEY}\n", "key": KEY}, "exactly one of"),
        ({"keys": ""}, "line 1 is not"),
        ({"keys": f"{KEY}\n\n{KEY}\n"}, "line 2 is not"),
        ({"keys": f"{KEY}\n{KEY}\n"}, "a list of different digests"),
        ({"keys": f" {KEY}\n"}, "line 1 is not"),
        ({"keys": f"{KEY}\r\n"}, "line 1 is not"),
        ({"keys": KEY[:-1] + "\n"}, "line 1 is not"),
        ({"keys": "sha512:" + "0" * 128 + "\n"}, "line 1 is not"),
        ({"artifacts": "md5:" + "0" * 32 + "\n"}, "line 1 is not"),
        ({"artifacts": [KEY]}, "`artifacts` must be a text"),
    ],
)  # fmt: skip
def test_a106_a_denial_that_could_be_read_in_two_ways_is_refused(entry: dict[str, Toml], complaint: str) -> None:
    good = parse_trust(trust_bytes(trust_parts(PKI, deny=[{"keys": f"{KEY}\n", "reason": "x"}])), "trust.toml")
    assert good.denied == (Denied("key", KEY, 0, "x"),)
    with pytest.raises(MalformedTrust, match=complaint):
        parse_trust(trust_bytes(trust_parts(PKI, deny=[{**entry, "reason": "x"}])), "trust.toml")


def test_a_list_of_denials_is_the_same_as_one_section_for_each(tmp_path: Path) -> None:
    other = person_key().key_digest
    lists: list[Toml] = [
        {"keys": f"{other}\n{KEY}\n", "reason": "rotated", "since": SINCE},
        {"artifacts": f"sha256:{'1' * 64}\nsha512:{'2' * 128}\n", "format": "pe", "reason": "recalled"},
        {"certificates": f"{CERTIFICATE}", "reason": "lost", "since": SINCE},
    ]
    single: list[Toml] = [
        {"key": other, "reason": "rotated", "since": SINCE},
        {"key": KEY, "reason": "rotated", "since": SINCE},
        {"artifact": f"sha256:{'1' * 64}", "format": "pe", "reason": "recalled"},
        {"artifact": f"sha512:{'2' * 128}", "format": "pe", "reason": "recalled"},
        {"certificate": CERTIFICATE, "reason": "lost", "since": SINCE},
    ]
    assert believed(PKI, deny=lists).denied == believed(PKI, deny=single).denied


@pytest.mark.parametrize(
    ("proved", "clock", "counts"),
    [
        (NOW - 5 * DAY, NOW, True),
        (NOW - 3 * DAY, NOW, False),
        (None, NOW, False),
        (None, NOW - 5 * DAY, True),
        (NOW - 5 * DAY, NOW + 100 * DAY, True),
    ],
    ids=["proved before", "proved after", "not proved", "not proved, but it is still before", "proved, long ago"],
)
def test_what_a_person_signed_counts_as_theirs_until_they_left(
    tmp_path: Path, proved: datetime | None, clock: datetime, counts: bool
) -> None:
    mia = PKI.leaf("mia", key=soft_key())
    left = {**person("mia", mia), "until": NOW - 4 * DAY}
    wanted = {**RULE, "signer": [{"anchors": ["root"], "persons": ["mia"], "purposes": ["updatePackageSigning"]}]}
    people = [*trust_parts(PKI)["person"], left]  # type: ignore[misc]
    trust = believed(PKI, person=people, rule=[wanted], issued=NOW - 9 * DAY)
    path = signed_file(tmp_path, mia, at=NOW - 5 * DAY, tsa=TSA if proved else None, stamped=proved)
    verdict = judge(path, trust, clock)
    assert (verdict.outcome is Outcome.TRUSTED) == counts
    assert codes(verdict) == ([] if counts else ["SW-SIGNER-NOT-ALLOWED"])
    ended = "found the entry of mia in the trust file ended on 2026-10-28"
    assert counts or any(ended in found.sentence for found in verdict.findings)
    staying = believed(PKI, person=[*people[:-1], person("mia", mia)], rule=[wanted], issued=NOW - 9 * DAY)
    assert judge(path, staying, clock).outcome is Outcome.TRUSTED


def test_who_has_not_begun_or_has_left_is_told_from_who_was_never_there(tmp_path: Path) -> None:
    """Both signatures are needed, so each signer must be a person of the trust file: the finding says why one is none."""
    mia, tom = (PKI.leaf(name, key=soft_key()) for name in ("mia", "tom"))
    slots: list[Toml] = [
        {"anchors": ["root"], "slot": slot, "purposes": ["updatePackageSigning"]} for slot in ("maker", "plant")
    ]
    path = signed_file(tmp_path, mia)
    path.with_name(f"{path.name}.plant.p7s").write_bytes(p7s(tom, path.read_bytes()))
    others: list[Toml] = [*trust_parts(PKI)["person"], {**person("mia", mia), "organisation": "ACME"}]  # type: ignore[misc]
    toms = {**person("tom", tom), "organisation": "Plant"}
    for entry, said in (
        (toms, ""),
        (None, "the certificate of CN=tom,O=ACME belongs to no person"),
        ({**toms, "until": NOW - DAY}, "CN=tom,O=ACME (the entry of tom in the trust file ended on 2026-10-31)"),
        ({**toms, "from": NOW + DAY}, "CN=tom,O=ACME (the entry of tom in the trust file begins on 2026-11-02)"),
    ):
        people = [*others, *([entry] if entry else [])]
        verdict = judge(path, believed(PKI, person=people, rule=[{**RULE, "signer": slots}]))
        assert codes(verdict) == (["SW-SIGNER-UNMAPPED"] if said else [])
        assert not said or any(said in found.sentence for found in verdict.findings)
