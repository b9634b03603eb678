"""A monitor: looks at a log again and again, remembers what it saw, and says when the log is not what it was.

    monitor = Monitor("monitor.state", source, [log key])
    for finding in monitor.findings(): ...        an alarm for each
    monitor.alarms, monitor.audit.entries

1. What it remembers is the checkpoint and the right edge that it recomputed itself (`audit.py`), in one file, replaced as a whole after
   a log was found to be in order, never before. A crash leaves the old state or the new one.
2. A log that shows another history, or a shorter one, is evidence: both checkpoints are kept beside the state, each in a file that is
   called by its digest, so that the same evidence is kept once.
3. `wanted`: signatures that somebody found in the field. One that the log lacks was made past it, where its key is one of the log's: it
   stands in any entry, or nobody said whose it is. They are looked for in the whole log, so that this reads all of it.
4. One that the log has and has not published yet is remarked, and an alarm after a quarter of an hour (`awaited.py`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import LogRefused, UsageError
from sealwright.findings import Finding, Severity, reject, warning
from sealwright.log.audit import MAX_FINDINGS, Audit, Before
from sealwright.log.awaited import Awaited
from sealwright.log.checkpoint import check_checkpoint, read_checkpoint
from sealwright.log.entries import Outline
from sealwright.log.headfile import MAX_NOTE_BYTES
from sealwright.log.source import Source
from sealwright.log.tree import Edge

FIRST_LINE = "# sealwright log monitor 1"
MAX_LIST_BYTES = 64 * 1024 * 1024
_EVIDENCE = ("SW-LOG-REWOUND", "SW-LOG-FORKED")
_DAMAGED = "Keep it as evidence; begin with a new state file, which reads the whole log."


class Wanted(NamedTuple):
    """A signature that a log must have. key: "" where it must in any case; found: where it was found, "" where only its digest is known.

    proofs: files that may prove that the log has it.
    """

    signature: str
    key: str = ""
    found: str = ""
    proofs: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """For people."""
        return f"{self.signature} of {self.found}" if self.found else self.signature


class Monitor:
    """One look at a log. alarms: how many findings were alarms; evidence: the files with checkpoints that contradict each other.

    strangers: how many of the signatures are of keys that the log does not know.
    """

    def __init__(
        self,
        state: str | None,
        source: Source,
        logs: Iterable[VerifierKey],
        witnesses: Iterable[VerifierKey] = (),
        wanted: Iterable[Wanted] = (),
        progress: Progress | None = None,
        awaited: Awaited | None = None,
    ) -> None:
        self.logs = tuple(logs)
        self._awaited = awaited
        self._missing = {one.signature: one for one in sorted(wanted, key=lambda one: not one.key)}
        self.audit = Audit(source, self.logs, witnesses, self._look if self._missing else None, progress)
        self.alarms = 0
        self.strangers = 0
        self.evidence: tuple[str, ...] = ()
        self._state = state
        self._keys: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        """What was added since the last time; the whole log where there are signatures to look for.

        The state is the new one afterwards if the entries lead to the checkpoint. Raises what `Audit.findings` does, OutputRefused.
        """
        yield from self._told(self.audit.findings_from_start if self._missing else self.audit.findings)

    def findings_from_start(self) -> Iterator[Finding]:
        """The whole log, also what was read before."""
        yield from self._told(self.audit.findings_from_start)

    def _told(self, read: Callable[[Before | None], Iterator[Finding]]) -> Iterator[Finding]:
        before = None if self._state is None else read_state(self._state, self.logs)
        for finding in read(before):
            self.alarms += finding.severity is Severity.REJECT
            if finding.code in _EVIDENCE and before is not None:
                self._keep_evidence(before.note)
            yield finding
        seen, end = self.audit.seen, self.audit.end
        if seen is None or end is None:
            return
        if self._state is not None:
            write_state(self._state, Before(end, seen.note))
        ours = [one for one in self._missing.values() if not one.key or one.key in self._keys]
        self.strangers = len(self._missing) - len(ours)
        yield from self._unlogged(sorted(ours), seen.checkpoint.size)

    def _unlogged(self, ours: list[Wanted], published: int) -> Iterator[Finding]:
        """What is not in the log as it is published, the alarms first."""
        promised = {one: self._promised(one, published) for one in ours}
        missing = [one for one in ours if promised[one] is None]
        self.alarms += len(missing)
        for one in missing[:MAX_FINDINGS]:
            yield reject("SW-LOG-UNLOGGED", one.named)
        for one, size in [(one, size) for one, size in promised.items() if size is not None][:MAX_FINDINGS]:
            yield warning("SW-LOG-UNPUBLISHED", one.named, str(published), str(size))
        if self._awaited is not None:
            self._awaited.keep()

    def _promised(self, one: Wanted, published: int) -> int | None:
        """The size of the log that has it and is to be published; None where that is no excuse."""
        if self._awaited is None or not one.proofs:
            return None
        size = self._awaited.promise(one.signature, one.proofs, self.logs, published)
        return None if size is None or self._awaited.overdue(one.signature) else size

    def _look(self, found: Outline) -> None:
        self._missing.pop(found.signature, None)
        self._keys.add(found.key)

    def _keep_evidence(self, before: str) -> None:
        """The checkpoint that contradicts the one that was kept, and that one, each in a file of its own."""
        seen = self.audit.seen
        if self._state is None or seen is None:
            return
        kept = []
        for note in (before, seen.note):
            path = f"{self._state}.{Digest.of(note.encode()).value.hex()[:16]}.checkpoint"
            write_atomic(path, note.encode(), replace=Replace.YES)
            kept.append(path)
        self.evidence = tuple(kept)


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


def read_signatures(path: str) -> list[Wanted]:
    """A file with a digest a line, `sha256:` before it or not; UsageError naming the line that is none."""
    wanted: list[Wanted] = []
    for number, line in enumerate(read_file(path, MAX_LIST_BYTES).decode("utf-8", "replace").splitlines(), 1):
        word = line.partition("#")[0].strip()
        if word:
            try:
                wanted.append(Wanted(str(Digest.parse(word if ":" in word else f"sha256:{word}"))))
            except ValueError as cause:
                raise UsageError(f"{path} line {number}", "it is no digest", "Write one SHA-256 a line.") from cause
    return wanted
