"""A monitor: looks at a log again and again, remembers what it saw, and says when the log is not what it was.

    monitor = Monitor("monitor.state", source, [log key])
    for finding in monitor.findings(): ...        an alarm for each
    monitor.alarms, monitor.audit.entries

1. What it remembers is the checkpoint and the right edge that it recomputed itself (`audit.py`), in one file, replaced as a whole after
   a log was found to be in order, never before. A crash leaves the old state or the new one.
2. A log that shows another history, or a shorter one, is evidence: its checkpoint is kept beside the state, which keeps the other.
3. `signatures`: digests of signature values that somebody found in the field, made by a key whose signatures are all logged. One that
   the log lacks was made past it. They are looked for in the whole log, so that this reads all of it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import LogRefused, UsageError
from sealwright.findings import Finding, Severity, reject
from sealwright.log.audit import MAX_FINDINGS, Audit, Before
from sealwright.log.checkpoint import check_checkpoint, read_checkpoint
from sealwright.log.headfile import MAX_NOTE_BYTES
from sealwright.log.source import Source
from sealwright.log.tree import Edge

FIRST_LINE = "# sealwright log monitor 1"
MAX_LIST_BYTES = 64 * 1024 * 1024
_EVIDENCE = ("SW-LOG-REWOUND", "SW-LOG-FORKED")
_DAMAGED = "Keep it as evidence; begin with a new state file, which reads the whole log."


class Monitor:
    """One look at a log. alarms: how many findings were alarms; evidence: the file with a checkpoint that contradicts the state, or ""."""

    def __init__(
        self,
        state: str | None,
        source: Source,
        logs: Iterable[VerifierKey],
        witnesses: Iterable[VerifierKey] = (),
        signatures: Iterable[Digest] = (),
        progress: Progress | None = None,
    ) -> None:
        self.logs = tuple(logs)
        self.audit = Audit(source, self.logs, witnesses, self._found, progress)
        self.alarms = 0
        self.evidence = ""
        self._state = state
        self._missing = set(map(str, signatures))

    def findings(self) -> Iterator[Finding]:
        """What was added since the last time; the whole log where there are signatures to look for.

        The state is the new one afterwards if the entries lead to the checkpoint. Raises what `Audit.findings` does, OutputRefused.
        """
        yield from self._told(self.audit.findings_from_start if self._missing else self.audit.findings)

    def findings_from_start(self) -> Iterator[Finding]:
        """The whole log, also what was read before."""
        yield from self._told(self.audit.findings_from_start)

    def _told(self, read: Callable[[Before | None], Iterator[Finding]]) -> Iterator[Finding]:
        for finding in read(None if self._state is None else read_state(self._state, self.logs)):
            self.alarms += finding.severity is Severity.REJECT
            if finding.code in _EVIDENCE:
                self._keep_evidence()
            yield finding
        seen, end = self.audit.seen, self.audit.end
        if seen is None or end is None:
            return
        if self._state is not None:
            write_state(self._state, Before(end, seen.note))
        self.alarms += len(self._missing)
        missing = sorted(self._missing)
        yield from (reject("SW-LOG-UNLOGGED", one) for one in missing[:MAX_FINDINGS])

    def _found(self, _: int, signature: str) -> None:
        self._missing.discard(signature)

    def _keep_evidence(self) -> None:
        """The checkpoint that contradicts the one in the state, in a file of its own."""
        seen = self.audit.seen
        if self._state is None or seen is None:
            return
        self.evidence = f"{self._state}.{Digest.of(seen.note.encode()).value.hex()[:16]}.checkpoint"
        write_atomic(self.evidence, seen.note.encode(), replace=Replace.YES)


def read_state(path: str, logs: Iterable[VerifierKey]) -> Before | None:
    """What a monitor remembered; None where there is nothing yet. LogRefused where it is damaged or of another log."""
    data = read_file_or_none(path, MAX_NOTE_BYTES)
    if data is None:
        return None
    try:
        head, gap, note = data.decode().partition("\n\n")
        first, edge = head.split("\n")
        if first != FIRST_LINE or not gap or not edge.startswith("edge "):
            raise ValueError("it is no monitor's state")
        checkpoint = read_checkpoint(note, path)
        check_checkpoint(checkpoint, logs, [], path)
        found = Edge.parse(checkpoint.size, base64.b64decode(edge[5:], validate=True))
        if found.root != checkpoint.root:
            raise ValueError("its edge is not that of its checkpoint")
    except ValueError as cause:
        raise LogRefused(path, f"it cannot be used: {cause}"[:160], _DAMAGED) from cause
    return Before(found, note)


def write_state(path: str, seen: Before) -> None:
    """Remember it, durable; OutputRefused."""
    edge = base64.b64encode(seen.edge.encoded).decode()
    write_atomic(path, f"{FIRST_LINE}\nedge {edge}\n\n{seen.note}".encode(), replace=Replace.YES)


def read_signatures(path: str) -> list[Digest]:
    """A file with a digest a line, `sha256:` before it or not; UsageError naming the line that is none."""
    digests: list[Digest] = []
    for number, line in enumerate(read_file(path, MAX_LIST_BYTES).decode("utf-8", "replace").splitlines(), 1):
        word = line.partition("#")[0].strip()
        if word:
            try:
                digests.append(Digest.parse(word if ":" in word else f"sha256:{word}"))
            except ValueError as cause:
                raise UsageError(f"{path} line {number}", "it is no digest", "Write one SHA-256 a line.") from cause
    return digests
