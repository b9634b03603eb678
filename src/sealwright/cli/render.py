"""A verdict as text for the person at the machine: the first line is an instruction, the rest is why and what next.

    DO NOT INSTALL: the file was changed
      drive.bin: file of 1,048,576 bytes
      drive.bin: the delivered file is not the one that was signed.
      Signed by ACME Release 2026 as maker (this signature does not count)
      Date not proved.
      Next: Copy the delivery again from its source and verify it again.
      Contact: OT security, extension 4711

Names out of files and certificates are escaped: control and direction characters can neither move the cursor nor turn a
line around. Keys, certificates, digests and codes appear only with `--details`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from sealwright.artifact.names import display
from sealwright.findings import Finding, Severity
from sealwright.formats.format import Extent, Range, Slot
from sealwright.texts import TEXTS
from sealwright.texts.words import say
from sealwright.trust.verdict import Outcome, Purpose, SignerSeen, Verdict

if TYPE_CHECKING:
    from sealwright.artifact.acceptance import Acceptance  # start-up time: few files have one

_ORDER = (Severity.REJECT, Severity.UNDECIDED, Severity.WARNING)
_DIGEST = re.compile(r"(sha(?:256|384|512)):([0-9a-f]{12})[0-9a-f]{52,}")
_IGNORED = "SW-SIGNATURE-IGNORED"


class Detail(Enum):
    """How much is said: QUIET one line and only where something is wrong, PLAIN the block, FULL with certificate words."""

    QUIET = auto()
    PLAIN = auto()
    FULL = auto()


def verdict_text(verdict: Verdict, detail: Detail) -> str:
    """The block of one path, with a final line feed; "" where nothing is to be said."""
    if detail is Detail.QUIET:
        if verdict.outcome is Outcome.TRUSTED:
            return ""
        return f"{display(verdict.path)}: {instruction(verdict)}\n"
    lines = [instruction(verdict), *("  " + display(line) for line in _body(verdict, detail))]
    if detail is Detail.FULL:
        lines += ["  " + say("verify.details"), *("    " + display(line) for line in _details(verdict))]
    return "\n".join(lines) + "\n"


def summary(outcomes: list[Outcome]) -> str:
    """The last line for several paths."""
    counts = [say(f"summary.{one}", number=f"{outcomes.count(one):,}") for one in Outcome if one in outcomes]
    joined = ", ".join(counts)
    if len(outcomes) == 1:
        return say("verify.summary.one", counts=joined)
    return say("verify.summary.many", number=f"{len(outcomes):,}", counts=joined)


def instruction(verdict: Verdict) -> str:
    """The first line: what to do, for this purpose."""
    why = display(deciding_clause(verdict))
    if verdict.outcome is Outcome.REJECTED:
        line = say(f"verify.{verdict.purpose}.refused", why=why)
    elif verdict.outcome is Outcome.UNDECIDED:
        line = say(f"verify.{verdict.purpose}.undecided", why=why)
    elif why:
        line = say("verify.run.kept", why=why)
    elif verdict.permitted is not None:
        permit = verdict.permitted.permit
        said = {"kind": permit.kind, "device": permit.device, "until": moment(permit.until)}
        line = say(f"verify.{verdict.purpose}.permitted", **said)
    else:
        line = say(f"verify.{verdict.purpose}.allowed")
    return say("verify.hypothetical", line=line, time=moment(verdict.times.judged)) if verdict.hypothetical else line


def deciding_clause(verdict: Verdict) -> str:
    """Why, in the words of the finding that decided; "" where all is well."""
    if verdict.outcome is Outcome.TRUSTED:
        worry = _refused_elsewhere(verdict) if verdict.purpose is Purpose.RUN else None
        return TEXTS[worry.code].headline if worry else ""
    severity = Severity.REJECT if verdict.outcome is Outcome.REJECTED else Severity.UNDECIDED
    clauses = (TEXTS[finding.code].headline for finding in verdict.findings if finding.severity is severity)
    return next((clause for clause in clauses if clause), say("verify.why-below"))


def moment(time: datetime) -> str:
    """A time to the minute, always UTC and always saying so."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def name_in(subject: str) -> str:
    """The common name out of an RFC 4514 subject, for people; the whole subject where it has none."""
    for part in _parts(subject):
        if part.startswith("CN="):
            return part[3:].replace("\\", "")
    return subject


def _body(verdict: Verdict, detail: Detail) -> Iterator[str]:
    yield _what(verdict)
    yield from _reasons(verdict, detail)
    yield from _signers(verdict)
    if verdict.accepted is not None:
        yield _accepted(verdict.accepted)
    yield _date(verdict)
    if verdict.trust.stage == "trial":
        yield say("verify.trial")
    yield say("verify.next", step=next_step(verdict))
    if verdict.purpose is Purpose.RUN and verdict.outcome is Outcome.REJECTED:
        yield say("verify.safe-state")
    if verdict.contact:
        yield say("verify.contact", contact=verdict.contact)


def _what(verdict: Verdict) -> str:
    """The path as it was given: of several files one name may be that of many."""
    claims, size = verdict.claims, f"{verdict.size:,}"
    if os.path.isdir(verdict.path):
        empty = say("verify.folder-empty", path=verdict.path)
        what = say("verify.folder", path=verdict.path, size=size) if verdict.size else empty
    elif verdict.artifact is not None:
        what = say("verify.file", path=verdict.path, size=size)
    else:
        return say("verify.nothing-read", path=verdict.path)
    said = []
    if claims.product:
        said.append(say("verify.product", product=claims.product))
    if claims.version:
        said.append(say("verify.version", version=claims.version))
    if claims.generation is not None:
        said.append(say("verify.generation", generation=claims.generation))
    return ", ".join([what, *said])


def _reasons(verdict: Verdict, detail: Detail) -> Iterator[str]:
    shown: set[str] = set()
    for severity in _ORDER:
        for finding in verdict.findings:
            if finding.severity is not severity:
                continue
            sentence = _sentence(finding, verdict, detail)
            if severity is Severity.WARNING:
                sentence = say("verify.note", sentence=sentence)
            if sentence not in shown:
                shown.add(sentence)
                yield sentence
    if detail is Detail.FULL:
        for finding in verdict.findings:
            if finding.severity is Severity.NOTE:
                yield say("verify.note", sentence=_sentence(finding, verdict, detail))


def _signers(verdict: Verdict) -> Iterator[str]:
    """Who signed; one line for a signer whose two signatures (of a file and of its manifest) say the same."""
    counted = [signer for signer in verdict.signers if signer.accepted]
    lines = [_signed(signer, verdict) for signer in counted or verdict.signers if signer.subject]
    yield from dict.fromkeys(lines)


def _signed(signer: SignerSeen, verdict: Verdict) -> str:
    name, part = name_in(signer.subject), say(f"verify.part.{signer.statement or signer.slot}")
    if signer.person and signer.organisation:
        who = say("verify.who-both", name=name, person=signer.person, organisation=signer.organisation)
    elif signer.person:
        who = say("verify.who-person", name=name, person=signer.person)
    elif signer.organisation:
        who = say("verify.who-organisation", name=name, organisation=signer.organisation)
    else:
        who = say("verify.who", name=name)
    whom = _for_whom(verdict) if signer.slot is Slot.MAKER else ""
    line = say("verify.signed-for", who=who, part=part, whom=whom) if whom else say("verify.signed", who=who, part=part)
    return line if signer.accepted else say("verify.not-counted", line=line)


def _accepted(acceptance: Acceptance) -> str:
    """When and for where the plant accepted it."""
    places = [*acceptance.lines, *acceptance.hardware]
    where = say("verify.accepted-for", places=", ".join(places)) if places else say("verify.accepted-anywhere")
    parts = {"time": moment(acceptance.accepted), "where": where, "reports": len(acceptance.reports)}
    if acceptance.until is None:
        return say("verify.accepted", **parts)
    return say("verify.accepted-until", **parts, until=moment(acceptance.until))


def _for_whom(verdict: Verdict) -> str:
    hardware, environment = ", ".join(verdict.claims.hardware), verdict.claims.environment
    if hardware and environment:
        return say("verify.for-both", hardware=hardware, environment=environment)
    if hardware:
        return say("verify.for-hardware", hardware=hardware)
    return say("verify.for-environment", environment=environment) if environment else ""


def _date(verdict: Verdict) -> str:
    times = verdict.times
    if times.proved is not None:
        return say("verify.date-proved", time=moment(times.proved))
    if times.claimed is not None:
        return say("verify.date-claimed", time=moment(times.claimed))
    return say("verify.date-unknown")


def next_step(verdict: Verdict) -> str:
    """What the person at the machine does next."""
    if verdict.outcome is Outcome.TRUSTED:
        if verdict.hypothetical:
            return say("verify.next-hypothetical")
        if verdict.purpose is Purpose.RUN and (worry := _refused_elsewhere(verdict)) is not None:
            return say("verify.next-leave", step=worry.next_step)
        if verdict.permitted is not None:
            return say("verify.next-permitted", device=verdict.permitted.permit.device, name=verdict.permitted.name)
        return say(f"verify.next.{verdict.purpose}")
    deciding = Severity.REJECT if verdict.outcome is Outcome.REJECTED else Severity.UNDECIDED
    return next(finding.next_step for finding in verdict.findings if finding.severity is deciding)


def _refused_elsewhere(verdict: Verdict) -> Finding | None:
    """The first warning whose code refuses an installation: the reason to leave alone what runs."""
    for finding in verdict.findings:
        if finding.severity is Severity.WARNING and finding.code != _IGNORED and TEXTS[finding.code].headline:
            return finding
    return None


def _details(verdict: Verdict) -> Iterator[str]:
    times, trust = verdict.times, verdict.trust
    none, nothing = say("details.none"), say("details.nothing")
    yield say("details.path", path=verdict.path)
    yield say("details.outcome", outcome=verdict.outcome, purpose=verdict.purpose, code=verdict.outcome.exit_code)
    rule = verdict.rule or none
    yield say("details.rule-mode", rule=rule, mode=verdict.mode) if verdict.mode else say("details.rule", rule=rule)
    yield say("details.artifact", digest=verdict.artifact or say("details.unread"), format=verdict.format or none)
    yield say("details.coverage", coverage=_coverage(verdict))
    yield say(
        "details.times",
        judged=moment(times.judged),
        source=times.source,
        floor=moment(times.floor) if times.floor else none,
        claimed=moment(times.claimed) if times.claimed else nothing,
    )
    if times.proved is not None and times.by:
        yield say("details.proved", time=moment(times.proved), by=times.by)
    yield say("details.trust", id=trust.id, version=trust.version, digest=trust.digest)
    yield say("details.believed", believed=trust.believed, rollback=trust.rollback, stage=trust.stage)
    for signer in verdict.signers:
        yield from _signer_details(signer)
    for finding in verdict.findings:
        named = {"severity": finding.severity, "code": finding.code, "subject": finding.subject}
        if finding.wanted or finding.found:
            yield say("details.finding-values", **named, wanted=repr(finding.wanted), found=repr(finding.found))
        else:
            yield say("details.finding", **named)


def _signer_details(signer: SignerSeen) -> Iterator[str]:
    subject = signer.subject or say("details.unreadable")
    if signer.accepted:
        yield say("details.signature", source=signer.source, slot=signer.slot, subject=subject)
    else:
        yield say("details.signature-ignored", source=signer.source, slot=signer.slot, subject=subject)
    if signer.key is not None:
        yield "  " + say("details.key", algorithm=signer.algorithm, key=signer.key, provenance=signer.provenance)
    if signer.certificate is not None:
        anchor = signer.anchor or say("details.none")
        yield "  " + say("details.certificate", certificate=signer.certificate, anchor=anchor)
    if signer.logged:
        yield "  " + say("details.logged", logged=signer.logged)


def _coverage(verdict: Verdict) -> str:
    ranges = verdict.coverage.ranges
    if not ranges:
        return say("details.covered-nothing")
    if all(part.extent is Extent.HASHED for part in ranges):
        return say("details.covered-all", size=f"{ranges[-1].end:,}")
    return ", ".join(map(_covered, ranges))


def _covered(part: Range) -> str:
    if part.reason:
        return say("details.covered-reason", start=part.start, end=part.end, extent=part.extent, reason=part.reason)
    return say("details.covered", start=part.start, end=part.end, extent=part.extent)


def _sentence(finding: Finding, verdict: Verdict, detail: Detail) -> str:
    """The finding's sentence, the plain one without details; its first word gets a capital unless it is a name."""
    text = TEXTS[finding.code]
    template = text.sentence if detail is Detail.FULL else text.plain or text.sentence
    said = (finding.sentence if detail is Detail.FULL else finding.plain) + "."
    if not template.startswith("{") or said.startswith(("the ", "this ")):
        said = said[:1].upper() + said[1:]
    if detail is Detail.FULL:
        return said
    for signer in verdict.signers:
        if signer.subject:
            said = said.replace(signer.subject, name_in(signer.subject))
    return _DIGEST.sub(r"\1:\2…", said)


def _parts(subject: str) -> Iterator[str]:
    part = ""
    escaped = False
    for character in subject:
        if character in ",+" and not escaped:
            yield part
            part = ""
            continue
        escaped = character == "\\" and not escaped
        part += character
    yield part
