"""A log proof beside a file, judged for its signature: what it must be about, how many witnesses are enough, what it decides."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit import trust as kit
from kit.efi import tiny
from kit.inside import sign_inside
from kit.logs import WITNESS, NoteSigner, entry_of, tlog_proof, write_proof
from kit.manifests import claimed
from kit.pki import DAY, HOUR, NOW, Pki, p7s
from kit.trust import RULE, believed, codes, signed_file, trust_bytes, trust_parts
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.cli.inspect import look
from sealwright.cli.jsonout import verdict_line
from sealwright.cli.render import Detail, verdict_text
from sealwright.errors import MalformedTrust
from sealwright.trust.belief import Believed
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Request, verify_paths

TRUSTED, REJECTED, UNDECIDED = Outcome.TRUSTED, Outcome.REJECTED, Outcome.UNDECIDED
LOG, OTHER_LOG = NoteSigner.make("log.example/7"), NoteSigner.make("log.example/8")
WITNESSES = [NoteSigner.make(f"w{number}.example", WITNESS) for number in range(1, 4)]
STRANGER = NoteSigner.make("stranger.example", WITNESS)
SEEN = {WITNESSES[0]: NOW + HOUR, WITNESSES[1]: NOW + 2 * HOUR, WITNESSES[2]: NOW + 3 * HOUR}
PKI = Pki.make()
LEAF = PKI.leaf("release", days=30)  # ends 20 days after NOW
ENDED = NOW + 25 * DAY


def trusting(log: str = "required", threshold: int | None = 2, **changes: object) -> Believed:
    parts: dict[str, object] = {
        "log": [{"name": "signatures", "vkey": LOG.vkey}],
        "witness": [{"name": one.name, "vkey": one.vkey} for one in WITNESSES],
        "rule": [RULE | {"log": log}],
    }
    if threshold is not None:
        parts["witness_threshold"] = threshold
    return believed(PKI, **(parts | changes))  # type: ignore[arg-type]


def judge(path: Path, trust: Believed, at: datetime = NOW + DAY, **request: object) -> Verdict:
    """A day later, when the witnesses' times are past."""
    return kit.judge(path, trust, at, **request)


def notes(verdict: Verdict) -> list[tuple[str, str]]:
    return [(f.code, f.found) for f in verdict.findings if f.code.startswith("SW-LOG")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return signed_file(tmp_path, LEAF)


def test_a_rule_that_wants_the_log_is_decided_by_a_witnessed_proof(path: Path) -> None:
    without = judge(path, trusting())
    assert (without.outcome, codes(without)) == (UNDECIDED, ["SW-LOG-PROOF-MISSING"])
    write_proof(path, LEAF, LOG, SEEN)
    verdict = judge(path, trusting())
    assert (verdict.outcome, notes(verdict)) == (TRUSTED, [])
    assert verdict.signers[0].logged == "signatures, entry 5, seen by 3 witnesses"
    assert judge(path, trusting(), ENDED).outcome is TRUSTED
    assert judge(path, trusting("none"), purpose=Purpose.RESTORE).outcome is TRUSTED


def test_without_a_proof_what_runs_keeps_running_and_is_told_of_it(path: Path) -> None:
    verdict = judge(path, trusting(), purpose=Purpose.RUN)
    assert verdict.outcome is TRUSTED
    assert [(f.code, f.severity) for f in verdict.findings if "LOG" in f.code] == [("SW-LOG-PROOF-MISSING", "warning")]


@pytest.mark.parametrize(
    ("threshold", "seen", "proved"),
    [
        (1, SEEN, NOW + HOUR),
        (2, SEEN, NOW + 2 * HOUR),
        (3, SEEN, NOW + 3 * HOUR),
        (None, SEEN, NOW + 2 * HOUR),  # more than half of three
        (2, {WITNESSES[0]: 0, WITNESSES[1]: NOW + 2 * HOUR, WITNESSES[2]: NOW + 5 * HOUR}, NOW + 5 * HOUR),
        (2, {WITNESSES[0]: NOW + 9 * HOUR, WITNESSES[1]: NOW + 2 * HOUR}, NOW + 9 * HOUR),
        (2, {WITNESSES[0]: NOW}, None),
        (2, {WITNESSES[0]: NOW, STRANGER: NOW}, None),
        (2, {WITNESSES[0]: NOW, WITNESSES[1]: 0}, None),
        (1, {}, None),
        (1, {STRANGER: NOW}, None),
        (1, {WITNESSES[0]: 0}, None),
    ],
)
def test_the_proved_time_is_the_kth_earliest_of_distinct_witnesses_that_say_one(
    path: Path, threshold: int | None, seen: Mapping[NoteSigner, datetime | int], proved: datetime | None
) -> None:
    write_proof(path, LEAF, LOG, seen)
    verdict = judge(path, trusting(threshold=threshold), ENDED)
    assert verdict.times.proved == proved
    assert codes(verdict) == ([] if proved else ["SW-CERT-EXPIRED"])
    if proved is None:
        assert [code for code, _ in notes(verdict)] == ["SW-LOG-PROOF-UNWITNESSED"]
        early = judge(path, trusting(threshold=threshold))
        assert (early.outcome, codes(early)) == (UNDECIDED, ["SW-LOG-PROOF-MISSING"])


def test_the_witnesses_prove_a_date_for_a_rule_that_wants_one(path: Path) -> None:
    trust = trusting("none", rule=[RULE | {"timestamp": "required"}])
    assert codes(judge(path, trust)) == ["SW-TIMESTAMP-REQUIRED"]
    write_proof(path, LEAF, LOG, SEEN)
    assert judge(path, trust).outcome is TRUSTED


def test_of_a_timestamp_and_a_log_proof_the_earlier_counts_and_both_are_told(tmp_path: Path) -> None:
    tsa = PKI.tsa()
    for stamped, by in (
        (NOW, "the timestamp authority timestamps"),
        (NOW + DAY, "the witnesses of the log signatures"),
    ):
        path = signed_file(tmp_path, LEAF, tsa=tsa, stamped=stamped)
        write_proof(path, LEAF, LOG, SEEN)
        verdict = judge(path, trusting(), NOW + 2 * DAY)
        assert verdict.times.by == by
        assert verdict.times.proved is not None
        assert verdict.times.proved <= NOW + 2 * HOUR
        # the newer of the two is the newest proved time, and moves the floor
        assert abs(judge(path, trusting(), NOW + 2 * DAY).times.floor - max(stamped, NOW + 2 * HOUR)) <= DAY / 1000  # type: ignore[operator]


def test_the_floor_moves_to_a_time_that_enough_witnesses_had_passed(path: Path) -> None:
    write_proof(path, LEAF, LOG, {WITNESSES[0]: NOW - DAY, WITNESSES[1]: NOW + DAY, WITNESSES[2]: NOW + 99 * DAY})
    early = NOW - 4 * DAY
    assert judge(path, trusting(threshold=1), early).times.floor == NOW - DAY
    assert judge(path, trusting(threshold=2), early).times.floor == NOW + DAY
    write_proof(path, LEAF, LOG, {WITNESSES[0]: NOW - DAY, WITNESSES[1]: NOW + DAY})
    assert judge(path, trusting(threshold=2), early).times.floor == NOW - DAY  # one of the two may be ahead


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("artifact", str(Digest.of(b"another file"))),
        ("signature", str(Digest.of(b"another signature"))),
        ("key", str(Digest.of(b"another key"))),
        ("certificate", str(Digest.of(b"another certificate"))),
        ("construction", "digest:mcuboot"),
        ("format", "manifest"),
        ("file", str(Digest.of(b"another file"))),
        ("kind", "file"),  # beside the format
        ("type", "result"),
        ("policy", None),
        ("policy", "sha256:00"),
        ("private", None),
        ("private", str(Digest.of(b"x")).upper()),
        ("private", "sha512:" + "00" * 64),
        ("artifact", None),
        ("construction", 7),
        ("remark", "and more"),
        ("generation", "07"),
        ("generation", 7),
        ("hardware", "cpu"),
        ("hardware", ()),
        ("product", ""),
    ],
)
def test_a_proof_of_an_entry_that_differs_in_any_field_proves_nothing(path: Path, field: str, value: object) -> None:
    write_proof(path, LEAF, LOG, SEEN)
    assert judge(path, trusting()).outcome is TRUSTED
    write_proof(path, LEAF, LOG, SEEN, **{field: value})  # type: ignore[arg-type]
    verdict = judge(path, trusting())
    assert (verdict.outcome, codes(verdict)) == (UNDECIDED, ["SW-LOG-PROOF-MISSING"])
    assert [code for code, _ in notes(verdict)] == ["SW-LOG-PROOF-MISSING", "SW-LOG-PROOF-REFUSED"]


@pytest.mark.parametrize(("field", "value"), [("file", None), ("format", None), ("product", "pump"), ("policy", "")])
def test_what_a_bare_signature_does_not_bind_may_stand_in_its_entry(path: Path, field: str, value: str | None) -> None:
    """The file digest where it is known, the kind in place of the format, claims that the requester asserted, any policy."""
    said = {
        "file": {"file": str(Digest.of(path.read_bytes()))},
        "format": {"format": None, "kind": "file"},
        "product": {"product": "pump", "generation": "7", "hardware": ("cpu",)},
        "policy": {"policy": str(Digest.of(b"another policy"))},
    }[field]
    write_proof(path, LEAF, LOG, SEEN, **said)  # type: ignore[arg-type]
    verdict = judge(path, trusting())
    assert verdict.outcome is TRUSTED
    assert not verdict.claims  # an entry claims nothing for anybody


def test_a138_an_entry_that_is_not_canonical_or_not_the_one_in_the_tree_proves_nothing(path: Path) -> None:
    entry = entry_of(LEAF, path.with_name("drive.bin.p7s").read_bytes(), path.read_bytes())
    proof = path.with_name("drive.bin.tlog-proof")
    spaced = json.dumps(json.loads(entry), sort_keys=True).encode()
    doubled = entry[:-1] + b',"type":"signature"}'
    other = entry.replace(b'"private":"sha256:', b'"private":"sha256:00')[: len(entry)]
    for said in (spaced, doubled, entry + b"\n", b"", b"[]", b"{}", b"[" * 9999, other, entry[:-2]):
        proof.write_bytes(tlog_proof(said, LOG, SEEN))
        verdict = judge(path, trusting())
        assert (verdict.outcome, notes(verdict)[1][0]) == (UNDECIDED, "SW-LOG-PROOF-REFUSED")
    proof.write_bytes(tlog_proof(b"another entry", LOG, SEEN, extra=entry))  # the extra line is signed by nobody
    assert notes(judge(path, trusting()))[1] == ("SW-LOG-PROOF-REFUSED", "the log does not hold this entry there")
    bare = tlog_proof(entry, LOG, SEEN).decode().split("\n")
    proof.write_text("\n".join([bare[0], *bare[2:]]))  # as others write it, who hand the entry over elsewhere
    assert notes(judge(path, trusting()))[1] == ("SW-LOG-PROOF-REFUSED", "it does not carry the log's entry")
    proof.write_bytes(tlog_proof(entry, LOG, SEEN))
    assert judge(path, trusting()).outcome is TRUSTED


@pytest.mark.parametrize(
    "case", ["other log", "log as witness", "folder", "huge", "empty", "not text", "older version"]
)
def test_a_bad_proof_is_a_warning_and_never_improves_a_verdict(path: Path, case: str) -> None:
    proof = path.with_name("drive.bin.tlog-proof")
    if case == "other log":
        write_proof(path, LEAF, OTHER_LOG, SEEN)
    elif case == "log as witness":
        write_proof(path, LEAF, LOG, {NoteSigner(LOG.name, WITNESS, LOG.key): NOW, WITNESSES[0]: NOW})
    elif case == "folder":
        proof.mkdir()
    else:
        proof.write_bytes({"huge": b"x" * 300_000, "empty": b"", "not text": b"\xff\xfe", "older version": b"v0"}[case])
    strict = judge(path, trusting())
    assert (strict.outcome, codes(strict)) == (UNDECIDED, ["SW-LOG-PROOF-MISSING"])
    lax = judge(path, trusting("none"))
    assert lax.outcome is TRUSTED
    assert [f.severity for f in lax.findings if f.code.startswith("SW-LOG")] == ["warning"]
    assert codes(judge(path, trusting("none"), ENDED)) == ["SW-CERT-EXPIRED"]


def test_a_proof_replayed_beside_another_signature_of_the_same_bytes_proves_nothing(tmp_path: Path) -> None:
    """A109, A097: the proof names one signature value, so an old one does not date a new signature by the same key."""
    path = signed_file(tmp_path, LEAF)
    write_proof(path, LEAF, LOG, SEEN)
    assert judge(path, trusting(), ENDED).outcome is TRUSTED
    path.with_name("drive.bin.p7s").write_bytes(p7s(LEAF, path.read_bytes(), at=NOW + HOUR))
    verdict = judge(path, trusting(), ENDED)
    assert codes(verdict) == ["SW-CERT-EXPIRED"]
    assert ("SW-LOG-PROOF-REFUSED", "it is of another signature") in notes(verdict)


def test_every_slot_has_a_proof_of_its_own(tmp_path: Path) -> None:
    plant = Pki.make("Plant")
    accepter = plant.leaf("acceptance")
    anchors = [
        {"name": name, "environment": "production", "certificate": pki.root.pem}
        for name, pki in (("root", PKI), ("plant", plant))
    ]
    people = [
        {"id": "mia", "organisation": "Maker", "keys": [LEAF.key_digest]},
        {"id": "pia", "organisation": "Plant", "keys": [accepter.key_digest]},
        {"id": "olga", "organisation": "Plant"},
        {"id": "rolf", "organisation": "Plant"},
    ]
    signers = [{"slot": "maker", "anchors": ["root"]}, {"slot": "plant", "anchors": ["plant"]}]
    trust = trusting(anchor=anchors, person=people, rule=[RULE | {"log": "required", "signer": signers}])
    path = signed_file(tmp_path, LEAF)
    signature = p7s(accepter, path.read_bytes())
    (tmp_path / "drive.bin.plant.p7s").write_bytes(signature)
    write_proof(path, LEAF, LOG, SEEN)
    verdict = judge(path, trust)
    assert (verdict.outcome, codes(verdict)) == (UNDECIDED, ["SW-LOG-PROOF-MISSING"])
    assert [f.subject for f in verdict.findings if "LOG" in f.code] == ["drive.bin.plant.p7s"]
    proof = tlog_proof(entry_of(accepter, signature, path.read_bytes()), LOG, SEEN, index=0, size=1)
    (tmp_path / "drive.bin.plant.tlog-proof").write_bytes(proof)
    assert judge(path, trust).outcome is TRUSTED


def test_proofs_of_manifests_lie_beside_the_manifest_and_claims_are_compared(tmp_path: Path) -> None:
    claims = Claims("pump", "2.1", 7, ("cpu-1515", "cpu-1516"), "production")
    path = claimed(tmp_path, LEAF, claims, name="drive.bin")
    text = (tmp_path / "drive.bin.manifest").read_bytes()
    signature = (tmp_path / "drive.bin.manifest.p7s").read_bytes()
    said: dict[str, object] = {
        "format": "manifest",
        "product": "pump",
        "version": "2.1",
        "generation": "7",
        "hardware": ("cpu-1515", "cpu-1516"),
        "environment": "production",
    }
    assert judge(path, trusting()).outcome is UNDECIDED
    for change in ({}, {"generation": "8"}, {"product": "valve"}, {"hardware": ("cpu-1515",)}, {"version": None}):
        entry = entry_of(LEAF, signature, text, **(said | change))  # type: ignore[arg-type]
        (tmp_path / "drive.bin.manifest.tlog-proof").write_bytes(tlog_proof(entry, LOG, SEEN))
        verdict = judge(path, trusting())
        assert verdict.outcome is (UNDECIDED if change else TRUSTED), change
        if change:
            assert ("SW-LOG-PROOF-REFUSED", "its entry has another `claims` than the signature") in notes(verdict)


def test_proofs_of_signatures_inside_a_file_lie_beside_it(tmp_path: Path) -> None:
    plain = tmp_path / "plain.efi"
    plain.write_bytes(tiny())
    signed = sign_inside(plain, LEAF, tmp_path / "signed.efi")
    verdict = judge(signed, trusting())
    assert (verdict.outcome, codes(verdict)) == (UNDECIDED, ["SW-LOG-PROOF-MISSING"])
    from sealwright.formats.format import Search
    from sealwright.formats.registry import find

    (candidate,) = find(str(signed), Search()).candidates
    assert candidate.envelope is not None
    value = candidate.envelope.signers[0].signature  # type: ignore[union-attr]
    entry = json.loads(entry_of(LEAF, p7s(LEAF, b""), b""))
    entry |= {"format": "pe", "artifact": str(candidate.artifact), "signature": str(Digest.of(value))}
    data = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    (tmp_path / "signed.efi.tlog-proof").write_bytes(tlog_proof(data, LOG, SEEN))
    assert judge(signed, trusting()).outcome is TRUSTED


def test_a_proof_does_not_save_a_revoked_or_denied_signer(path: Path) -> None:
    write_proof(path, LEAF, LOG, SEEN)
    pki = Pki(PKI.root, PKI.intermediate, PKI.provenance)
    for reason, date, want in (
        (x509.ReasonFlags.superseded, NOW + DAY, []),
        (x509.ReasonFlags.superseded, NOW + HOUR, ["SW-CERT-REVOKED"]),
        (x509.ReasonFlags.key_compromise, NOW + DAY, ["SW-CERT-REVOKED"]),
    ):
        pki.revoked.clear()
        pki.revoke(LEAF, date, reason)
        assert codes(judge(path, trusting(crls=[pki.crl(NOW + 2 * DAY)]), NOW + 3 * DAY)) == want


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"witness_threshold": 0}, "whole number from 1"),
        ({"witness_threshold": 4}, "at most 3"),
        ({"witness_threshold": 1, "witness": []}, "at most 0"),
        ({"witness_threshold": "2"}, "whole number"),
        ({"witness_threshold": True}, "whole number"),
        ({"floor_lowered_in": 2}, "still to come"),
        ({"floor_lowered_in": 0}, "whole number from 1"),
    ],
)
def test_a_threshold_that_cannot_be_reached_is_refused_in_the_trust_file(changes: dict[str, object], said: str) -> None:
    parts = {"witness": [{"name": one.name, "vkey": one.vkey} for one in WITNESSES]}
    assert parse_trust(trust_bytes(trust_parts(PKI, **parts)), "trust.toml").witness_threshold == 2  # type: ignore[arg-type]
    with pytest.raises(MalformedTrust, match=said):
        parse_trust(trust_bytes(trust_parts(PKI, **(parts | changes))), "trust.toml")  # type: ignore[arg-type]


def test_two_keys_of_one_witness_count_once(path: Path) -> None:
    renewed = NoteSigner.make("w1.example", WITNESS)
    witnesses = [{"name": f"n{number}", "vkey": one.vkey} for number, one in enumerate((*WITNESSES, renewed))]
    trust = trusting(witness=witnesses)
    write_proof(path, LEAF, LOG, {WITNESSES[0]: NOW, renewed: NOW})
    assert ("SW-LOG-PROOF-UNWITNESSED", "1") in notes(judge(path, trust))
    write_proof(path, LEAF, LOG, {WITNESSES[1]: NOW, renewed: NOW})
    assert judge(path, trust).outcome is TRUSTED
    with pytest.raises(MalformedTrust, match="at most 3"):
        trusting(witness=witnesses, threshold=4)


def test_the_proof_is_told_in_every_form(path: Path) -> None:
    proof = write_proof(path, LEAF, LOG, SEEN)
    verdict = judge(path, trusting())
    shown = verdict_text(verdict, Detail.FULL)
    assert "date 2026-11-01 14:00 UTC proved by the witnesses of the log signatures" in shown
    assert "in the log signatures, entry 5, seen by 3 witnesses" in shown
    told = json.loads(verdict_line(verdict, ""))
    assert told["times"]["proved_by"] == "the witnesses of the log signatures"
    assert told["signers"][0]["logged"] == "signatures, entry 5, seen by 3 witnesses"
    plain = verdict_text(judge(path, trusting(threshold=3)), Detail.PLAIN)
    assert "Date proved: signed before 2026-11-01 15:00 UTC." in plain
    facts = dict(look(str(proof)).facts)
    assert facts["log"] == "log.example/7"
    assert facts["signed digest"] == str(verdict.artifact)
    witnessed = [value for name, value in look(str(proof)).facts if name == "witness"]
    assert witnessed[0].startswith("w1.example, which says 2026-11-01 13:00 UTC")
    assert "drive.bin.tlog-proof" in dict(look(str(path)).facts)["beside it"]


def test_a_link_or_a_pipe_in_place_of_a_proof_is_told_and_waits_for_nobody(path: Path) -> None:
    proof = path.with_name("drive.bin.tlog-proof")
    proof.symlink_to("nowhere")
    assert [code for code, _ in notes(judge(path, trusting("none")))] == ["SW-LOG-PROOF-REFUSED"]
    proof.unlink()
    os.mkfifo(proof)
    assert [code for code, _ in notes(judge(path, trusting("none")))] == ["SW-LOG-PROOF-REFUSED"]


def test_of_many_files_each_has_its_own_proof(tmp_path: Path) -> None:
    for number in range(3):
        path = signed_file(tmp_path, LEAF, b"firmware %d" % number, name=f"{number}.bin")
        write_proof(path, LEAF, LOG, SEEN)
    swapped = tmp_path / "1.bin.tlog-proof"
    swapped.write_bytes((tmp_path / "2.bin.tlog-proof").read_bytes())
    request = Request(clock=NOW + DAY, recursive=True)
    verdicts = {Path(one.path).name: one.outcome for one in verify_paths([str(tmp_path)], trusting(), request)}
    assert verdicts == {"0.bin": TRUSTED, "1.bin": UNDECIDED, "2.bin": TRUSTED}


def test_a_proof_by_a_named_signature_elsewhere_lies_beside_the_file(path: Path, tmp_path: Path) -> None:
    write_proof(path, LEAF, LOG, SEEN)
    elsewhere = tmp_path / "kept" / "old.p7s"
    elsewhere.parent.mkdir()
    path.with_name("drive.bin.p7s").rename(elsewhere)
    assert judge(path, trusting(), signature=str(elsewhere)).outcome is TRUSTED
