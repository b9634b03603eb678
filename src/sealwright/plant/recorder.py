"""Judging and recording: a verdict leaves here only when its record is durable, or as a refusal (IEC 62443-4-2 CR 2.8, 2.10).

1. A file is opened once: what is judged and what is digested for the record are the bytes of one descriptor.
2. The record is written and synced before its verdict is given back, so that nobody is told "install" without one.
3. Where it cannot be written, nothing may be installed or restored: the verdict is refused with a finding of its own. What runs
   already keeps running, with a warning: a full disk must not stop a plant (CR 2.10).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import open_artifact
from sealwright.errors import SealwrightError
from sealwright.findings import reject, warning
from sealwright.formats.registry import stands_for_another
from sealwright.plant.installation import Installation
from sealwright.plant.recordfolder import Sign, append
from sealwright.plant.records import Asserted, Facts, Link, Record, Station, facts_of, record_text
from sealwright.trust.verdict import Purpose, Verdict
from sealwright.trust.verify import Verifier

BATCH = 64
NOT_WRITTEN = "SW-RECORD-NOT-WRITTEN"


class Recorded(NamedTuple):
    """A verdict and the folder of its record; "" where that could not be written, which the verdict says."""

    verdict: Verdict
    path: str


class Judged(NamedTuple):
    """A verdict, SHA-256 of the whole file where it is one, the clock when it was reached, and the device that it was about."""

    verdict: Verdict
    file: Digest | None
    clock: datetime
    installation: Installation | None = None


@dataclass(frozen=True, slots=True)
class Recorder:
    """Where records go, and what they all say. sign: the station's signatures, or b"" for each text."""

    folder: str
    station: Station
    asserted: Asserted
    sign: Sign

    def record(self, judged: Sequence[Judged]) -> list[Recorded]:
        """The verdicts, with their records durable or refused."""
        makers = [partial(self._text, facts_of(one.verdict, one.file, one.installation), one.clock) for one in judged]
        try:
            paths = append(self.folder, makers, self.sign)
        except SealwrightError as cause:
            return [Recorded(_unrecorded(one.verdict, cause), "") for one in judged]
        return [Recorded(one.verdict, path) for one, path in zip(judged, paths, strict=True)]

    def _text(self, facts: Facts, clock: datetime, link: Link) -> bytes:
        return record_text(Record(link, facts, self.asserted, self.station, clock))


def unsigned(texts: Sequence[bytes]) -> list[bytes]:
    """The signatures of a station without a key."""
    return [b""] * len(texts)


def recorded(
    verifier: Verifier,
    artifacts: Iterable[tuple[str, Collection[str] | None]],
    recorder: Recorder,
    batch: int,
    progress: Progress | None,
) -> Iterator[Recorded]:
    """Judge artifacts, as `trust.verify.artifacts` gives them, and record them in batches; in order."""
    each = iter(artifacts)
    while some := list(islice(each, batch)):
        yield from recorder.record([judge(verifier, path, beside, progress) for path, beside in some])


def judge(verifier: Verifier, path: str, beside: Collection[str] | None, progress: Progress | None) -> Judged:
    """Judge one artifact, a file by the one descriptor that its digest comes from too."""
    try:
        source = open_artifact(path) if not stands_for_another(path) else None
    except SealwrightError:  # a folder, or what cannot be read, which the verdict says
        source = None
    if source is None:
        return Judged(verifier.verify(path, progress, beside), None, datetime.now(UTC))
    with source:
        verdict, file = verifier.verify_opened(source, progress), None
        try:
            file = source.digests((HashName.SHA256,), progress)[HashName.SHA256]
        except SealwrightError as cause:
            name = os.path.basename(path) or path
            verdict = verdict.with_findings((reject(cause.code, name, found=cause.what),))
    return Judged(verdict, file, datetime.now(UTC))


def _unrecorded(verdict: Verdict, cause: SealwrightError) -> Verdict:
    """The verdict without its record. The finding comes first: it is why nothing may be installed now."""
    grade = warning if verdict.purpose is Purpose.RUN else reject
    found = (
        grade(NOT_WRITTEN, os.path.basename(verdict.path) or verdict.path, found=f"{cause.subject}: {cause.what}"),
    )
    return verdict.with_findings(found)._replace(findings=found + verdict.findings)
