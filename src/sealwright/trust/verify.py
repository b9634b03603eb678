"""Verifying: the one way from a path on disk to a `Verdict`. It reads files and nothing else: no network, no token.

1. The trust file was believed before (`belief.load_trust`); its findings go into every verdict.
2. The judgement time is max(clock, floor); what the clock says never lowers it (`times.py`).
3. Everything that signs the artifact is found, and what it binds is digested from the delivered bytes (`formats`).
   An evidence record beside it (`.ers`) is weighed by itself: one that holds proves a time, one that does not is a finding.
4. Each signature is judged alone (`signatures.py`), the rules decide together (`rules.py`).
5. Generations: the trust file's minimum, the rule's, and the highest this verifier accepted before (`--state`); of a program's
   components the minimum and the denials, whoever signed it.
6. Freshness: how old the trust file may be for this purpose; stale trust is undecided, never trusted.
7. Permits, where there are any: one that counts for this device stands in for a generation, the plant's acceptance or fresh trust
   (`permits.py`), for nothing else.
8. Where a state is kept it is written before the verdict leaves: what is newer in any case, what was accepted if it was.
An error is a refusal: whatever cannot be read is rejected with the reason, never skipped.

    believed = load_trust("trust.toml", fingerprint=None, installed=None, judged=now)
    for verdict in verify_paths(["drive.bin"], believed, Request(clock=now)): print(verdict.outcome)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeVar, cast

from sealwright.artifact.claims import Claims
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, unreadable
from sealwright.errors import LimitExceeded, MalformedTrust, SealwrightError
from sealwright.findings import Finding, Severity, note, reject, undecided, warning
from sealwright.formats.format import ACCEPTANCE, RECEIVING, Coverage, Found, Search
from sealwright.formats.registry import file_of, find
from sealwright.formats.sidecar import has_record
from sealwright.trust.belief import Believed
from sealwright.trust.ground import Ground
from sealwright.trust.rules import MINIMUM, Decision, agreed_claims, decide, old_components, older_than, takes_record
from sealwright.trust.signatures import Judged, judge_candidate
from sealwright.trust.state import NOTHING, State, read_state, update_state
from sealwright.trust.telling import weight
from sealwright.trust.times import Judgement, judgement, raised
from sealwright.trust.verdict import Asked, Outcome, Purpose, Times, TrustSeen, Verdict, outcome_of

if TYPE_CHECKING:
    from sealwright.artifact.acceptance import Acceptance
    from sealwright.artifact.permit import Permit
    from sealwright.artifact.receiving import Receiving
    from sealwright.formats.permitfiles import Presented
    from sealwright.trust.evidence import Evidence

T = TypeVar("T")
MAX_FILES_IN_FOLDER = 1_000_000
MANY = 64


class Remember(Enum):
    """What a state keeps of an accepted installation: ACCEPTED its generation and the use of its permit at once, or, with PROVED, only when
    who installs it says so (`state.having_proved`, `permits.use_permit`), because what was accepted has yet to run."""

    ACCEPTED = auto()
    PROVED = auto()


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. clock: the time now (aware); at: judge as if it were this time (hypothetical, moves no floor).

    signature: the one signature file to read; state: folder of the verifier's memory; hardware, product, line: what the place
    is (line: production line); recursive: judge each file of a folder by its own signature instead of the folder by its manifest;
    device: id or serial number of the one device that it is for, about which all is said that stands against it; permits: that may
    let it be installed there all the same.
    """

    clock: datetime
    purpose: Purpose = Purpose.INSTALL
    at: datetime | None = None
    signature: str | None = None
    state: str | None = None
    hardware: str = ""
    product: str = ""
    line: str = ""
    recursive: bool = False
    device: str = ""
    permits: tuple[Presented[Permit], ...] = ()
    remember: Remember = Remember.ACCEPTED


def verify_paths(
    paths: Iterable[str], believed: Believed, request: Request, progress: Progress | None = None
) -> Iterator[Verdict]:
    """One verdict a path, in order. Raises only for a state folder that cannot be read or written."""
    verifier = Verifier(believed, request)
    for path, beside in artifacts(paths, request):
        yield verifier.verify(path, progress, beside)


def artifacts(paths: Iterable[str], request: Request) -> Iterator[tuple[str, Collection[str] | None]]:
    """The paths to judge, each with the names in its folder where they are known; with `recursive`, the files of each folder that are not the signatures of others, sorted.

    A link to a folder is not followed but judged itself, and an unreadable folder raises: nothing is passed over.
    """
    from sealwright.formats.sidecar import is_beside

    for path in paths:
        if not request.recursive or not os.path.isdir(path):
            yield path, None
            continue
        count = 0
        for folder, folders, names in os.walk(path, onerror=_not_walked):
            folders.sort()
            links = {name for name in folders if os.path.islink(os.path.join(folder, name))}
            files, present, inside = {*names}, {*names, *folders}, os.path.join(folder, "")
            # a folder of evidence that is asked about by itself is not judged with the file that it is about
            place = inside if folder == path else folder
            for name in sorted([*names, *links]):
                if is_beside(place, name, files, folders):
                    continue
                count += 1
                if count > MAX_FILES_IN_FOLDER:
                    raise LimitExceeded(
                        path, f"more than {MAX_FILES_IN_FOLDER} files", "Verify its subfolders one by one."
                    )
                yield f"{inside}{name}", None if name in links else present
        if count == 0:
            yield path, None  # which is not signed: a folder with nothing in it is never allowed


def _not_walked(cause: OSError) -> None:
    raise unreadable(str(cause.filename), cause)


class Verifier:
    """A believed trust file and a request, ready to judge many artifacts; owns the caches and the state."""

    def __init__(self, believed: Believed, request: Request) -> None:
        trust = believed.trust
        self.believed = believed
        self.request = request
        self.state: State = self._lowered(read_state(request.state)) if request.state else NOTHING
        self.when = judgement(request.clock, request.at, trust.issued, trust.expires, self.state.floor)
        self.deny_name = f"deny {trust.id} {trust.version}"
        self._check_newest()
        self.ground = self._ground(self.when)
        self.asked = Asked(request.purpose, request.product, request.hardware, request.line)
        self.trust_seen = TrustSeen(
            id=trust.id,
            version=trust.version,
            digest=trust.digest,
            stage=trust.stage,
            believed=believed.reason,
            rollback="checked" if request.state else "not checked",
        )

    def verify(self, path: str, progress: Progress | None = None, beside: Collection[str] | None = None) -> Verdict:
        """Judge one artifact; what cannot be read is rejected with the reason. beside: the names in its folder, just listed."""
        found = self._found(path, progress, beside)
        return self._settled(found, self._judged(found))

    def examine(self, path: str, progress: Progress | None = None) -> tuple[Found, list[Judged], Verdict]:
        """The same with all that was seen on the way, the objects of an evidence record too, whether there is one or not."""
        from sealwright.formats.archive import find_archived  # only renewals want it

        found = find_archived(path, self._search(progress, None))
        judged = self._judged(found)
        return found, judged, self._settled(found, judged)

    def verify_opened(self, source: OpenArtifact, progress: Progress | None = None) -> Verdict:
        """Judge a file's bytes as they are held open, by the signatures that lie beside its path; the caller closes it."""
        found = self._found(source.path, progress, None, source)
        return self._settled(found, self._judged(found))

    def examine_opened(self, source: OpenArtifact, progress: Progress | None = None) -> tuple[list[Judged], Verdict]:
        """The same with each signature that was judged."""
        found = self._found(source.path, progress, None, source)
        judged = self._judged(found)
        return judged, self._settled(found, judged)

    def verify_all(self, artifacts: Sequence[tuple[str, Collection[str] | None]]) -> list[Verdict]:
        """The same for many. Each step is done for all before the next begins: its code and tables stay in the cache."""
        found = [self._found(path, None, beside) for path, beside in artifacts]
        judged = [self._judged(one) for one in found]
        return [self._settled(one, entries) for one, entries in zip(found, judged, strict=True)]

    def _found(
        self,
        path: str,
        progress: Progress | None,
        beside: Collection[str] | None,
        source: OpenArtifact | None = None,
    ) -> Found:
        search = self._search(progress, beside)._replace(source=source)
        try:
            named = search.signature is None and beside is None and source is None
            if named and (about := file_of(path)) is not None and has_record(about, search):
                path = about  # beside which the record lies, and that is over all of its signatures
            if has_record(path, search):
                from sealwright.formats.archive import find_archived  # few files have one

                return find_archived(path, search)
            return find(path, search)
        except SealwrightError as cause:
            # the cause may be a signature file or a member of a folder
            refusal = reject(cause.code, os.path.basename(cause.subject) or cause.subject or path, found=cause.what)
            return Found(path, 0, (), None, (refusal,))

    def _search(self, progress: Progress | None, beside: Collection[str] | None) -> Search:
        return Search(
            signature=self.request.signature,
            progress=progress,
            watched=self.ground.watched,
            beside=beside,
            certificates=self.believed.certificates,
            layouts=self.believed.layouts,
            # what runs is not stopped by whoever can put a file beside it (RULES 4: a bad token never improves a verdict)
            unreadable=Severity.WARNING if self.request.purpose is Purpose.RUN else Severity.REJECT,
        )

    def _lowered(self, known: State) -> State:
        """The memory after the officers took its floor back, where they did in a version that is new here (RULES 4)."""
        trust = self.believed.trust
        return known.lowered(trust.id, trust.floor_lowered_in, trust.issued)

    def _check_newest(self) -> None:
        """MalformedTrust where the memory knows a newer trust file or deny list than those at hand (A104)."""
        trust, denying = self.believed.trust, self.believed.deny_version
        known, denied_before = self.state.trust.get(trust.id, 0), self.state.lists.get(self.deny_name, 0)
        if trust.version < known:
            raise MalformedTrust(
                "trust file",
                f"version {trust.version} is older than version {known}, which this verifier has seen",
                "Use the newest trust file; an older one may still trust a key that was withdrawn since.",
            )
        if denying < denied_before:
            raise MalformedTrust(
                "deny list",
                f"version {denied_before} was seen with this trust file, here is {denying or 'none'}",
                "Bring the newest deny list; an older one may forget what was stolen since.",
            )

    def _ground(self, when: Judgement) -> Ground:
        trust, crls, denied = self.believed.trust, self.believed.crls, self.believed.denied
        known, lists = self.believed.certificates, self.state.lists
        return Ground(trust, crls, denied, when, self.request.purpose, known_lists=lists, certificates=known)

    def _judged(self, found: Found) -> list[Judged]:
        judged = _judge(found, self.ground)
        when = self._raised(judged)
        # A token showed that the clock is behind: what stands beside it is judged at that time too (A109).
        return judged if when.judged == self.when.judged else _judge(found, self._ground(when))

    def _about_record(self, found: Found, when: Judgement) -> tuple[Finding, ...]:
        """What is said of the evidence record beside an artifact: a note or a warning, which decides nothing."""
        if found.archive is None or not found.candidates:
            return ()
        ground = self.ground if when.judged == self.when.judged else self._ground(when)
        evidence, findings = _weighed(found, ground)
        if evidence is not None and not any(map(evidence.is_over, found.candidates)):
            what = "it is over none of the signatures that are here"
            return (warning("SW-EVIDENCE-REFUSED", evidence.name, found=what),)
        return findings

    def _raised(self, judged: list[Judged]) -> Judgement:
        proofs = [entry.proof for entry in judged if entry.seen.accepted and entry.proof is not None]
        return raised(self.when, [seen for proof in proofs for seen in proof.seen], self.believed.trust.expires)

    def _settled(self, found: Found, judged: list[Judged]) -> Verdict:
        claims, disagreements = agreed_claims(judged, found.components)
        when = self._raised(judged)
        decision = decide(self.believed.trust, judged, claims, self.asked, when)
        # of what counts for nothing, nothing is believed or remembered
        claims, _ = agreed_claims(decision.counted, found.components)
        findings = [
            *found.findings,
            *self._about_record(found, when),
            *disagreements,
            *(f for entry in judged if _counts(entry, decision) for f in entry.findings),
            *(f for entry in judged if not decision.counted for f in entry.findings if f.code in _ABOUT_PROOFS),
        ]
        if self.request.recursive:
            findings += _unaccounted(judged, decision, when)
        if found.candidates or not found.findings:
            findings += [f for f in decision.findings if f not in findings]
        if decision.counted and found.components:
            minimums, denied = self.believed.trust.minimums, self.ground.below
            old = old_components(found.components, minimums, denied, self.asked.purpose)
            findings += [f for f in old if f not in findings]
        if self.request.device or not any(f.severity is Severity.REJECT for f in findings):
            findings += [_ignored(entry) for entry in judged if entry not in decision.counted]
            findings += [f for f in self._generations(claims) if f not in findings]
            findings += self._freshness(decision, when)
        verdict = self._verdict(found, tuple(findings), judged, decision, claims, when)
        if self.request.permits:
            from sealwright.trust.permits import Case, with_permits  # few verifications have one

            case = Case(self.request.device, self.ground, when, self.state.permits)
            verdict = with_permits(verdict, self.request.permits, case)
        if self.request.state and not verdict.hypothetical:
            return self._remembered(self.request.state, verdict, decision)
        return verdict

    def _generations(self, claims: Claims) -> list[Finding]:
        product = claims.product
        if product is None:
            return []
        findings: list[Finding] = []
        if (least := self.believed.trust.minimums.get(product)) is not None:
            findings += older_than(claims, least, MINIMUM, self.asked.purpose)
        if (seen := self.state.generations.get(product)) is not None:
            # An older backup may be put back knowingly: for RESTORE what ran here before is said, not refused.
            purpose = Purpose.RUN if self.asked.purpose is Purpose.RESTORE else self.asked.purpose
            findings += older_than(claims, seen, "accepted here before", purpose)
        return findings

    def _freshness(self, decision: Decision, when: Judgement) -> list[Finding]:
        trust = self.believed.trust
        running = self.asked.purpose is Purpose.RUN
        stop = warning if running else undecided
        findings: list[Finding] = []
        if when.clock_is_behind:
            findings.append(
                warning(
                    "SW-TIME-CLOCK-BEHIND",
                    "this machine's clock",
                    f"{when.floor:%Y-%m-%d %H:%M} UTC",
                    f"{when.clock:%Y-%m-%d %H:%M} UTC",
                )
            )
            if when.clock_is_wrong:
                findings += [
                    stop("SW-TIME-FLOOR-ONLY", rule.name) for rule in decision.rules if not rule.freshness.floor_ok
                ]
        if when.judged > trust.expires:
            findings.append(stop("SW-TRUST-EXPIRED", "the trust file", found=f"{trust.expires:%Y-%m-%d}"))
        for rule in decision.rules:
            fresh = rule.freshness
            if fresh.fresh_for is None:
                continue
            age, limit = when.judged - trust.issued, fresh.fresh_for
            if age > limit + fresh.grace:
                findings.append(stop("SW-TRUST-STALE", rule.name, f"{limit.days} days", f"{age.days} days"))
            elif age > limit:
                findings.append(warning("SW-TRUST-AGEING", rule.name, f"{limit.days} days", f"{age.days} days"))
        return findings

    def _remembered(self, folder: str, verdict: Verdict, decision: Decision) -> Verdict:
        """The verdict once the memory holds what it taught; worse if another process has accepted something newer meanwhile."""
        trust = self.believed.trust
        lists = self.ground.list_numbers()
        if self.believed.deny_version:
            lists[self.deny_name] = self.believed.deny_version
        accepted = verdict.outcome is Outcome.TRUSTED
        seen = [one for entry in decision.counted if entry.proof is not None for one in entry.proof.seen]
        at_once = self.request.remember is Remember.ACCEPTED
        generation = verdict.claims.generation if at_once and self.asked.purpose is Purpose.INSTALL else None

        permitted, spent = verdict.permitted if accepted and at_once else None, False

        def learn(known: State) -> State:
            nonlocal spent
            after = self._lowered(known).having_seen(trust.id, trust.version, lists)
            product = verdict.claims.product
            if permitted is not None:
                spent = permitted.use in known.permits
                after = after.having_used(permitted.use, permitted.permit.until)
            return after.after(seen, trust.issued, trust.expires, product, generation) if accepted else after

        if learn(self.state) == self.state:
            return verdict
        self.state = update_state(folder, learn)
        self._check_newest()
        newer = self._generations(verdict.claims) if accepted and verdict.permitted is None else []
        if permitted is not None and spent:  # another process used it meanwhile
            from sealwright.trust.permits import used_before

            newer = [used_before(permitted, verdict)]
        return verdict.with_findings(tuple(finding for finding in newer if finding not in verdict.findings))

    def _verdict(
        self,
        found: Found,
        findings: tuple[Finding, ...],
        judged: list[Judged],
        decision: Decision,
        claims: Claims,
        when: Judgement,
    ) -> Verdict:
        every = (*sorted(findings, key=weight), *self.believed.findings, *self.ground.crl_findings)
        main = decision.counted or tuple(judged)
        rule = decision.rules[0] if decision.rules else None
        proofs = [entry.proof for entry in main if entry.proof is not None]
        first = min(proofs, key=lambda proof: proof.latest, default=None)
        return Verdict(
            path=found.path,
            purpose=self.request.purpose,
            outcome=outcome_of(every),
            findings=every,
            signers=tuple(entry.seen for entry in judged),
            rule=rule.name if rule else "",
            mode=rule.mode.value if rule else "",
            contact=rule.contact if rule else "",
            times=Times(
                claimed=main[0].claimed if main else None,
                proved=first.latest if first is not None else None,
                floor=when.floor,
                judged=when.judged,
                source=when.source,
                by=first.by if first is not None else "",
            ),
            trust=self.trust_seen,
            artifact=found.artifact,
            format="+".join(sorted({entry.candidate.format for entry in main})),
            size=found.size,
            claims=claims,
            coverage=main[0].candidate.coverage if main else Coverage(()),
            hypothetical=when.hypothetical,
            accepted=cast("Acceptance | None", _counted_statement(decision, ACCEPTANCE)),
            received=cast("Receiving | None", _counted_statement(decision, RECEIVING)),
            rules=tuple(one.name for one in decision.rules),
        )


def _unaccounted(judged: list[Judged], decision: Decision, when: Judgement) -> list[Finding]:
    """Evidence that was passed over because a record lists it, and no rule that decided here takes that record (A066)."""
    entry = next((one for one in judged if one.candidate.format == RECEIVING and one.candidate.statement), None)
    if entry is None or any(takes_record(rule, judged, when.judged) for rule in decision.rules):
        return []
    pieces = len(cast("Receiving", entry.candidate.statement).evidence)
    return [reject("SW-EVIDENCE-UNACCOUNTED", entry.candidate.name, found=str(pieces))] if pieces else []


def _counted_statement(decision: Decision, form: str) -> Acceptance | Receiving | None:
    return next((entry.candidate.statement for entry in decision.counted if entry.candidate.format == form), None)


def _judge(found: Found, ground: Ground) -> list[Judged]:
    evidence = _weighed(found, ground)[0] if found.archive is not None else None
    candidates = found.candidates
    if len(candidates) > 1:
        from sealwright.formats.sidecar import own_late_tokens  # start-up time: most have one signature

        candidates = own_late_tokens(candidates)
    return [entry for candidate in candidates for entry in judge_candidate(candidate, ground, evidence)]


def _weighed(found: Found, ground: Ground) -> tuple[Evidence | None, tuple[Finding, ...]]:
    from sealwright.trust.evidence import weigh  # few files have a record

    if found.archive is None:
        return None, ()
    if ground.weighed is None or ground.weighed[0] is not found.archive:
        ground.weighed = (found.archive, weigh(found.archive, ground))
    return ground.weighed[1]


def map_paths(paths: Iterable[str], believed: Believed, request: Request, use: Callable[[Verdict], T]) -> Iterator[T]:
    """`use` applied to each verdict, in order; by all cores where there are many. What `use` gives must be picklable."""
    every = list(artifacts(paths, request))
    verifier = Verifier(believed, request)
    if len(every) < MANY:
        yield from (use(verifier.verify(path, None, beside)) for path, beside in every)
        return
    from sealwright.trust.many import judge_many  # only many paths need it

    yield from judge_many(
        every, lambda some: [use(verdict) for verdict in verifier.verify_all(some)], alone=request.state is not None
    )


# Why a date is not proved is told also of a signature that does not count for want of one.
_ABOUT_PROOFS = frozenset(
    ("SW-TIMESTAMP-REFUSED", "SW-TIMESTAMP-UNREADABLE", "SW-LOG-PROOF-REFUSED", "SW-LOG-PROOF-UNWITNESSED")
)


def _counts(entry: Judged, decision: Decision) -> bool:
    """Findings of a signature belong to the verdict when it counted, or when none did."""
    return entry in decision.counted


def _ignored(entry: Judged) -> Finding:
    first = next(iter(entry.refusals), None)
    why = first.sentence if first else "no rule asks for it"
    return (warning if first else note)("SW-SIGNATURE-IGNORED", entry.seen.source, found=why)
