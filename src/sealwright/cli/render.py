"""A verdict as text for the person at the machine: the first line is an instruction, the rest is why and what next.

    DO NOT INSTALL: the file was changed
      drive.bin: file of 1,048,576 bytes
      drive.bin.p7s: the delivered file is not the one that was signed (...)
      Signed by ACME Release 2026 (does not count)
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

from sealwright.artifact.names import display
from sealwright.findings import Finding, Severity
from sealwright.formats.format import Extent, Slot
from sealwright.texts import TEXTS
from sealwright.trust.verdict import Outcome, Purpose, SignerSeen, Verdict

_VERBS = {Purpose.INSTALL: "install", Purpose.RUN: "run", Purpose.RESTORE: "restore"}
_PARTS = {Slot.MAKER: "maker", Slot.PLANT: "plant", Slot.PQ: "post-quantum signature"}
_ORDER = (Severity.REJECT, Severity.UNDECIDED, Severity.WARNING)
_SAFE_STATE = "If it is running now, bring the process to a safe state before you stop it."
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
        lines += ["  Details:", *("    " + display(line) for line in _details(verdict))]
    return "\n".join(lines) + "\n"


def summary(outcomes: list[Outcome]) -> str:
    """The last line for several paths."""
    words = {Outcome.TRUSTED: "allowed", Outcome.REJECTED: "refused", Outcome.UNDECIDED: "undecided"}
    counts = ", ".join(f"{outcomes.count(o):,} {word}" for o, word in words.items() if o in outcomes)
    return f"{len(outcomes):,} paths: {counts}."


def instruction(verdict: Verdict) -> str:
    """The first line: what to do, for this purpose."""
    verb = _VERBS[verdict.purpose]
    why = display(deciding_clause(verdict))
    if verdict.outcome is Outcome.REJECTED:
        line = f"DO NOT {verb.upper()}: {why}"
    elif verdict.outcome is Outcome.UNDECIDED:
        line = f"CANNOT DECIDE, do not {verb} yet: {why}"
    elif why:
        line = f"KEEP RUNNING, do not reinstall: {why}"
    else:
        line = f"{verb.upper()}: allowed"
    return line + (f" (hypothetical, judged as of {moment(verdict.times.judged)})" if verdict.hypothetical else "")


def deciding_clause(verdict: Verdict) -> str:
    """Why, in the words of the finding that decided; "" where all is well."""
    if verdict.outcome is Outcome.TRUSTED:
        worry = _refused_elsewhere(verdict) if verdict.purpose is Purpose.RUN else None
        return TEXTS[worry.code].headline if worry else ""
    severity = Severity.REJECT if verdict.outcome is Outcome.REJECTED else Severity.UNDECIDED
    clauses = (TEXTS[finding.code].headline for finding in verdict.findings if finding.severity is severity)
    return next((clause for clause in clauses if clause), "see below")


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
    yield _date(verdict)
    if verdict.trust.stage == "trial":
        yield "Trial trust file: good for trying, nothing may be enforced by it."
    yield f"Next: {_next_step(verdict)}"
    if verdict.purpose is Purpose.RUN and verdict.outcome is Outcome.REJECTED:
        yield _SAFE_STATE
    if verdict.contact:
        yield f"Contact: {verdict.contact}"


def _what(verdict: Verdict) -> str:
    claims = verdict.claims
    name = os.path.basename(verdict.path.rstrip("/" + os.sep)) or verdict.path
    if os.path.isdir(verdict.path):
        kind = "folder"
    elif verdict.artifact is not None:
        kind = "file"
    else:
        return f"{name}: nothing was read that could be judged"
    size = f" of {verdict.size:,} bytes" if verdict.size or kind == "file" else ""
    said = []
    if claims.product:
        said.append(f"product {claims.product}")
    if claims.version:
        said.append(f"version {claims.version}")
    if claims.generation is not None:
        said.append(f"generation {claims.generation}")
    return ", ".join([f"{name}: {kind}{size}", *said])


def _reasons(verdict: Verdict, detail: Detail) -> Iterator[str]:
    shown: set[str] = set()
    for severity in _ORDER:
        for finding in verdict.findings:
            if finding.severity is not severity:
                continue
            sentence = ("Note: " if severity is Severity.WARNING else "") + _sentence(finding, verdict, detail)
            if sentence not in shown:
                shown.add(sentence)
                yield sentence
    if detail is Detail.FULL:
        for finding in verdict.findings:
            if finding.severity is Severity.NOTE:
                yield "Note: " + _sentence(finding, verdict, detail)


def _signers(verdict: Verdict) -> Iterator[str]:
    counted = [signer for signer in verdict.signers if signer.accepted]
    for signer in counted or verdict.signers:
        if not signer.subject:
            continue
        who = name_in(signer.subject) + (f" ({signer.person})" if signer.person else "")
        organisation = f" of {signer.organisation}" if signer.organisation else ""
        whom = _for_whom(verdict) if signer.slot is Slot.MAKER else ""
        standing = "" if signer.accepted else " (this signature does not count)"
        yield f"Signed by {who}{organisation} as {_PARTS[signer.slot]}{whom}{standing}"


def _for_whom(verdict: Verdict) -> str:
    claims = verdict.claims
    parts = []
    if claims.hardware:
        parts.append("hardware " + ", ".join(claims.hardware))
    if claims.environment:
        parts.append(f"{claims.environment} use")
    return ", for " + " in ".join(parts) if parts else ""


def _date(verdict: Verdict) -> str:
    times = verdict.times
    if times.proved is not None:
        return f"Date proved: signed before {moment(times.proved)}."
    claimed = f"; the signer wrote {moment(times.claimed)}" if times.claimed is not None else ""
    return f"Date not proved{claimed}."


def _next_step(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.TRUSTED:
        if verdict.hypothetical:
            return "Verify it again without --at before you act on it."
        if verdict.purpose is Purpose.RUN and (worry := _refused_elsewhere(verdict)) is not None:
            return f"Leave it running. {worry.next_step}"
        return {
            Purpose.INSTALL: "Install it, and keep its signature files with it.",
            Purpose.RUN: "Nothing to do.",
            Purpose.RESTORE: "Restore it.",
        }[verdict.purpose]
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
    yield f"path {verdict.path}"
    yield f"outcome {verdict.outcome} for {verdict.purpose}, exit code {verdict.outcome.exit_code}"
    yield f"rule {verdict.rule or 'none'}" + (f", mode {verdict.mode}" if verdict.mode else "")
    yield f"artifact {verdict.artifact or 'unread'}, format {verdict.format or 'none'}"
    yield f"coverage {_coverage(verdict)}"
    yield (
        f"judged at {moment(times.judged)} by {times.source}, floor {moment(times.floor) if times.floor else 'none'}, "
        f"claimed {moment(times.claimed) if times.claimed else 'nothing'}"
    )
    yield f"trust file {trust.id} version {trust.version}, {trust.digest}"
    yield f"trust believed because {trust.believed}; rollback: {trust.rollback}; stage {trust.stage}"
    for signer in verdict.signers:
        yield from _signer_details(signer)
    for finding in verdict.findings:
        yield f"{finding.severity} {finding.code} {finding.subject}: wanted {finding.wanted!r}, found {finding.found!r}"


def _signer_details(signer: SignerSeen) -> Iterator[str]:
    counts = "counts" if signer.accepted else "does not count"
    yield f"signature {signer.source} ({signer.slot}, {counts}): {signer.subject or 'unreadable'}"
    if signer.key is not None:
        yield f"  {signer.algorithm}, key {signer.key} ({signer.provenance})"
    if signer.certificate is not None:
        yield f"  certificate {signer.certificate}, anchor {signer.anchor or 'none'}"


def _coverage(verdict: Verdict) -> str:
    ranges = verdict.coverage.ranges
    if not ranges:
        return "nothing was covered"
    if all(part.extent is Extent.HASHED for part in ranges):
        return f"all {ranges[-1].end:,} bytes"
    return ", ".join(
        f"{part.start}-{part.end} {part.extent}" + (f" ({part.reason})" if part.reason else "") for part in ranges
    )


def _sentence(finding: Finding, verdict: Verdict, detail: Detail) -> str:
    """The finding's sentence; its first word gets a capital unless it is a name; names and digests are cut short."""
    text = finding.sentence + "."
    if not TEXTS[finding.code].sentence.startswith("{") or text.startswith(("the ", "this ")):
        text = text[:1].upper() + text[1:]
    if detail is Detail.FULL:
        return text
    for signer in verdict.signers:
        if signer.subject:
            text = text.replace(signer.subject, name_in(signer.subject))
    return _DIGEST.sub(r"\1:\2…", text)


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
