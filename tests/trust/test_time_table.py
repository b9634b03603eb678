"""Every combination of certificate, timestamp, log proof, clock, trust file and purpose against RULES 4, read sentence by sentence.

`expected` is an oracle of its own: the sentences of RULES 4 (and of DESIGN on purposes), one `if` each, over plain dates. It
shares nothing with the code under test but the dates. docs/time.md shows a part of its answers, and this test keeps it so.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import pytest
from cryptography import x509

from kit.logs import WITNESS, NoteSigner, write_proof
from kit.pki import DAY, HOUR, NOW, Pki, Signer, p7s
from kit.trust import RULE, believed
from sealwright.trust.belief import Believed
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Request, Verifier

PAGE = Path(__file__).parents[2] / "docs" / "time.md"
TRUSTED, REJECTED, UNDECIDED = Outcome.TRUSTED, Outcome.REJECTED, Outcome.UNDECIDED


class Certificate(StrEnum):
    VALID = "valid"
    EXPIRED = "ended on day 20"
    COMPROMISED = "revoked on day 30, key stolen, nobody knows since when"
    SUPERSEDED = "revoked on day 30, superseded"
    STOLEN_BEFORE = "revoked on day 30, key stolen on day -1"
    STOLEN_AFTER = "revoked on day 30, key stolen on day 10"
    ON_HOLD = "on hold since day 30"


class Stamp(StrEnum):
    NONE = "none"
    TRUSTED = "day 0"
    UNTRUSTED = "day 0, of an unknown authority"
    LATER = "day 40"


class Log(StrEnum):
    NONE = "none"
    ENOUGH = "enough witnesses, day 0"
    TOO_FEW = "too few witnesses"


class Clock(StrEnum):
    RIGHT = "day 60, right"
    LOST = "1970"
    LOST_ALLOWED = "1970, and the rule lets it install by its floor"
    AHEAD = "eight years ahead"


class Trust(StrEnum):
    FRESH = "issued on day 55"
    IN_GRACE = "issued on day 25"
    STALE = "issued on day -5"


# The dates, in days from the signature. The rule wants a trust file of at most 30 days, with 30 days of grace.
SIGNED, WITNESSED, STAMPED_LATER = NOW, NOW + HOUR, NOW + 40 * DAY
ENDS = dict.fromkeys(Certificate, NOW + 450 * DAY) | {Certificate.EXPIRED: NOW + 20 * DAY}
REVOKED = NOW + 30 * DAY
INVALID = {Certificate.STOLEN_BEFORE: NOW - DAY, Certificate.STOLEN_AFTER: NOW + 10 * DAY}
LIST_MADE, LIST_NEXT = NOW + 50 * DAY, NOW + 80 * DAY
LOST = datetime(1970, 1, 2, tzinfo=UTC)
CLOCKS = {
    Clock.RIGHT: NOW + 60 * DAY,
    Clock.LOST: LOST,
    Clock.LOST_ALLOWED: LOST,
    Clock.AHEAD: NOW + 3000 * DAY,
}
ISSUED = {Trust.FRESH: NOW + 55 * DAY, Trust.IN_GRACE: NOW + 25 * DAY, Trust.STALE: NOW - 5 * DAY}
LASTS, FRESH_FOR, GRACE = 500 * DAY, 30 * DAY, 30 * DAY
ACCURACY = timedelta(seconds=1)


@dataclass(frozen=True)
class Case:
    """One row."""

    certificate: Certificate
    stamp: Stamp
    log: Log
    clock: Clock
    trust: Trust
    purpose: Purpose


def expected(case: Case) -> tuple[Outcome, set[str]]:
    """What RULES 4 says of a row, and the codes by which it may be said."""
    running = case.purpose is Purpose.RUN

    # "Proved: the earliest of genTime + accuracy of a valid token, or, for a log, the k-th earliest non-zero time among
    # cosignatures of distinct witnesses in the trust file." A token of a stranger is no valid one.
    tokens = {Stamp.TRUSTED: [SIGNED], Stamp.LATER: [STAMPED_LATER]}.get(case.stamp, [])
    logged = [WITNESSED] if case.log is Log.ENOUGH else []
    proved = min([*(time + ACCURACY for time in tokens), *logged], default=None)

    # "Floor: the newest proved time this verifier has accepted; moved only by accepted objects (genTime - accuracy, or a
    # trust file's issued), never past the trust file's expires." "Judgement time = max(clock, floor)."
    issued, clock = ISSUED[case.trust], CLOCKS[case.clock]
    floor = min(max([issued, *(time - ACCURACY for time in tokens), *logged]), issued + LASTS)
    judged = max(clock, floor)

    refused = set()
    # "keyCompromise ... or no reason, without invalidity date, reject every signature of that key whenever made;
    # certificateHold rejects while it lasts."
    if case.certificate in (Certificate.COMPROMISED, Certificate.ON_HOLD):
        refused.add("SW-CERT-REVOKED")
    # "An entry counts from its invalidity date, else its revocation date." What is not proved to be older is not.
    counts_from = {**INVALID, Certificate.SUPERSEDED: REVOKED}.get(case.certificate)
    if counts_from is not None and (proved is None or proved >= counts_from):
        refused.add("SW-CERT-REVOKED")
    # DESIGN: "No proved time and an expired certificate is a refusal to install." And of run: "expiry or a stale trust file
    # never stops a plant."
    if (proved or judged) > ENDS[case.certificate] and not running:
        refused.add("SW-CERT-EXPIRED")
    if refused:
        return REJECTED, refused
    if running:
        return TRUSTED, set()

    open_questions = set()
    # "Silence is evidence only from a CRL made after the proved time ... and fresh now." "A missing or stale CRL is undecided for
    # install, a warning for run." An entry with a later date is news of a list, and as old as that.
    if not LIST_MADE <= judged <= LIST_NEXT:
        open_questions.add("SW-REVOCATION-UNKNOWN")
    # DESIGN, freshness: fresh_for, then grace ("trusted with a warning, then undecided"), and whether a machine without a clock may
    # install by floor.
    if judged > issued + LASTS:
        open_questions.add("SW-TRUST-EXPIRED")
    if judged - issued > FRESH_FOR + GRACE:
        open_questions.add("SW-TRUST-STALE")
    if case.clock is Clock.LOST:
        open_questions.add("SW-TIME-FLOOR-ONLY")
    return (UNDECIDED, open_questions) if open_questions else (TRUSTED, set())


class World:
    """One signature for each certificate, its variants with every proof, and the trust files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pki, self.time = Pki.make(), Pki.make("Time")
        self.tsa, stranger = self.time.tsa(), Pki.make("Stranger").tsa()
        self.log = NoteSigner.make("log.example")
        self.witnesses = [NoteSigner.make(f"w{number}.example", WITNESS) for number in (1, 2, 3)]
        stamps = {
            Stamp.NONE: {},
            Stamp.TRUSTED: {"tsa": self.tsa, "stamped": SIGNED},
            Stamp.UNTRUSTED: {"tsa": stranger, "stamped": SIGNED},
            Stamp.LATER: {"tsa": self.tsa, "stamped": STAMPED_LATER},
        }
        seen = {Log.NONE: 0, Log.ENOUGH: 2, Log.TOO_FEW: 1}
        self.paths: dict[tuple[Certificate, Stamp, Log], Path] = {}
        for certificate in Certificate:
            signer = self._signer(certificate)
            for stamp, how in stamps.items():
                signature = p7s(signer, b"firmware", at=SIGNED, **how)  # type: ignore[arg-type]
                for log, number in seen.items():
                    path = folder / f"{certificate.name}-{stamp.name}-{log.name}.bin"
                    path.write_bytes(b"firmware")
                    path.with_name(f"{path.name}.p7s").write_bytes(signature)
                    if number:
                        write_proof(path, signer, self.log, dict.fromkeys(self.witnesses[:number], WITNESSED))
                    self.paths[certificate, stamp, log] = path
        crl = self.pki.crl(LIST_MADE, days=(LIST_NEXT - LIST_MADE).days)
        self.trusts = {
            (trust, clock): self._trust(ISSUED[trust], crl, "allow" if clock is Clock.LOST_ALLOWED else "refuse")
            for trust in Trust
            for clock in Clock
        }

    def _signer(self, certificate: Certificate) -> Signer:
        signer = self.pki.leaf(certificate.name.lower(), days=(ENDS[certificate] - NOW).days + 10)
        assert abs(signer.x509.not_valid_after_utc - ENDS[certificate]) < HOUR  # of no combination here the difference
        reasons = {
            Certificate.COMPROMISED: x509.ReasonFlags.key_compromise,
            Certificate.SUPERSEDED: x509.ReasonFlags.superseded,
            Certificate.STOLEN_BEFORE: x509.ReasonFlags.key_compromise,
            Certificate.STOLEN_AFTER: x509.ReasonFlags.key_compromise,
            Certificate.ON_HOLD: x509.ReasonFlags.certificate_hold,
        }
        if (reason := reasons.get(certificate)) is not None:
            self.pki.revoke(signer, REVOKED, reason, INVALID.get(certificate))
        return signer

    def _trust(self, issued: datetime, crl: bytes, without_clock: str) -> Believed:
        return believed(
            self.pki,
            crls=[crl],
            issued=issued,
            expires=issued + LASTS,
            crl=[{"issuer": self.pki.intermediate.pem}],
            authority=[{"name": "time", "anchor": self.time.root.pem}],
            log=[{"name": "log", "vkey": self.log.vkey}],
            witness=[{"name": one.name, "vkey": one.vkey} for one in self.witnesses],
            witness_threshold=2,
            rule=[RULE | {"fresh_for": "30d", "grace": "30d", "without_clock": without_clock}],
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("time"))


@pytest.mark.parametrize(
    ("trust", "clock", "purpose"),
    list(itertools.product(Trust, Clock, Purpose)),
    ids=lambda one: str(one.name).lower(),
)
def test_every_combination_is_judged_as_rules_4_says(
    world: World, trust: Trust, clock: Clock, purpose: Purpose
) -> None:
    verifier = Verifier(world.trusts[trust, clock], Request(clock=CLOCKS[clock], purpose=purpose))
    wrong = []
    for (certificate, stamp, log), path in world.paths.items():
        verdict = verifier.verify(str(path))
        outcome, codes = expected(Case(certificate, stamp, log, clock, trust, purpose))
        said = _deciding(verdict)
        if verdict.outcome is not outcome or not said <= codes or bool(said) != bool(codes):
            wrong.append(f"{certificate} / {stamp} / {log}: {verdict.outcome} {said}, RULES: {outcome} {codes}")
    assert not wrong, "\n".join(wrong)


def _deciding(verdict: Verdict) -> set[str]:
    severity = {REJECTED: "reject", UNDECIDED: "undecided", TRUSTED: ""}[verdict.outcome]
    return {finding.code for finding in verdict.findings if finding.severity == severity}


def test_the_page_shows_officers_what_this_table_says() -> None:
    page = PAGE.read_text()
    for table in (proof_table(), clock_table()):
        assert table in page, f"docs/time.md does not show this table:\n{table}"


WORDS = {TRUSTED: "yes", REJECTED: "**no**", UNDECIDED: "not yet"}
PROOFS = {
    "nothing": (Stamp.NONE, Log.NONE),
    "by day 0": (Stamp.TRUSTED, Log.NONE),
    "by day 40": (Stamp.LATER, Log.NONE),
}


def proof_table() -> str:
    """By certificate and proof, with a right clock and a fresh trust file: install / run."""
    rows = ["| the signer's certificate | " + " | ".join(f"proved: {name}" for name in PROOFS) + " |"]
    rows.append("|---" * (len(PROOFS) + 1) + "|")
    for certificate in Certificate:
        cells = [_both(certificate, stamp, log, Clock.RIGHT, Trust.FRESH) for stamp, log in PROOFS.values()]
        rows.append(f"| {certificate} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def clock_table() -> str:
    """By clock and trust file, for a valid certificate and a signature proved by day 0: install / run."""
    rows = ["| this machine's clock | " + " | ".join(f"trust file {trust}" for trust in Trust) + " |"]
    rows.append("|---" * (len(Trust) + 1) + "|")
    for clock in Clock:
        cells = [_both(Certificate.VALID, Stamp.TRUSTED, Log.NONE, clock, trust) for trust in Trust]
        rows.append(f"| {clock} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _both(certificate: Certificate, stamp: Stamp, log: Log, clock: Clock, trust: Trust) -> str:
    install, run = (
        expected(Case(certificate, stamp, log, clock, trust, purpose))[0] for purpose in (Purpose.INSTALL, Purpose.RUN)
    )
    return f"{WORDS[install]} / {WORDS[run]}"
