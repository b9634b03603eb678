"""What in a folder belongs to something else there and is no product of its own: evidence, reports, the plant's statements, proofs.

1. Evidence is what the receiving record beside its folder lists, a report what an acceptance beside it lists, both with this very
   content. That alone is nobody's word: it counts where the statement's signature holds as well (`Spool.settle`), so that whoever
   writes a record of his own hides nothing behind it (A066). Until then it is a file like any other.
2. Statements and proofs have the names under which `verify` reads them (`formats/sidecar.py`). A name is no proof: a timestamp is
   looked at with its signature; log proofs and evidence records are not looked at here.
Signatures are not told of: they are said with the file that they sign.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from sealwright.artifact.acceptance import MAX_BYTES, Acceptance, parse_acceptance
from sealwright.artifact.source import open_artifact, read_file
from sealwright.errors import SealwrightError
from sealwright.formats.format import Slot
from sealwright.formats.sidecar import (
    ACCEPTANCE_SUFFIX,
    EVIDENCE_SUFFIX,
    LATE_SUFFIX,
    PROOF_SUFFIXES,
    RECEIVING_SUFFIX,
    RECORD_SUFFIX,
)
from sealwright.formats.statementnames import is_listed_evidence, received_by
from sealwright.plant.walk import Listed


class Kind(StrEnum):
    """What it is. EVIDENCE and REPORT are bound by their digests, RECEIVING and ACCEPTANCE where their signatures hold."""

    RECEIVING = "receiving"
    ACCEPTANCE = "acceptance"
    EVIDENCE = "evidence"
    REPORT = "report"
    TIMESTAMP = "timestamp"
    LOG_PROOF = "log-proof"
    EVIDENCE_RECORD = "evidence-record"


class Belonging(NamedTuple):
    """A file and whose it says it is. folder: of the file, raw; above, owner: folder and name of the other one."""

    folder: bytes
    name: bytes
    above: bytes
    owner: bytes
    kind: Kind


_KINDS = {
    RECEIVING_SUFFIX: Kind.RECEIVING,
    ACCEPTANCE_SUFFIX: Kind.ACCEPTANCE,
    LATE_SUFFIX: Kind.TIMESTAMP,
    PROOF_SUFFIXES[Slot.MAKER]: Kind.LOG_PROOF,
    RECORD_SUFFIX: Kind.EVIDENCE_RECORD,
}


def listed_here(listed: Listed, maybe: Sequence[bytes], present: Collection[bytes]) -> Iterator[Belonging]:
    """The evidence and the reports in a folder, each with the content that its statement lists.

    maybe: its names that end as those of statements may; present: all of its names.
    """
    if listed.path.endswith(os.fsencode(EVIDENCE_SUFFIX)):
        above, stem = os.path.split(listed.path.removesuffix(os.fsencode(EVIDENCE_SUFFIX)))
        for name in listed.files:
            if is_listed_evidence(os.fsdecode(listed.path), os.fsdecode(name)):
                yield Belonging(listed.path, name, above, stem, Kind.EVIDENCE)
    suffix = os.fsencode(ACCEPTANCE_SUFFIX)
    for statement in maybe:
        owner = statement.removesuffix(suffix)
        if owner != statement and owner in present:
            yield from _reports(listed, statement, owner)


def _reports(listed: Listed, statement: bytes, owner: bytes) -> Iterator[Belonging]:
    acceptance = _acceptance(os.fsdecode(os.path.join(listed.path, statement)))
    if acceptance is None or acceptance.name != owner:
        return
    digests = {report.name: report.digest for report in acceptance.reports}
    for name in acceptance.beside:
        path = os.path.join(listed.path, name)
        if os.path.islink(path):
            continue
        try:
            with open_artifact(os.fsdecode(path)) as source:
                same = source.digests((acceptance.algorithm,))[acceptance.algorithm].value == digests[name]
        except SealwrightError:  # it is told where the file itself is looked at
            continue
        if same:
            yield Belonging(listed.path, name, listed.path, owner, Kind.REPORT)


def _acceptance(path: str) -> Acceptance | None:
    try:
        return parse_acceptance(read_file(path, MAX_BYTES), path)
    except SealwrightError:  # what is wrong with it is told of what it is about
        return None


def by_name(listed: Listed, beside: Collection[bytes], present: Collection[bytes]) -> Iterator[Belonging]:
    """The statements and proofs in a folder. beside: its names that are read with something else (`is_beside`)."""
    for name in sorted(beside):
        kind = next((kind for suffix, kind in _KINDS.items() if name.endswith(os.fsencode(suffix))), None)
        owner = _owner(name, present, beside) if kind is not None else b""
        if kind is not None and owner:
            yield Belonging(listed.path, name, listed.path, owner, kind)


def _owner(name: bytes, present: Collection[bytes], beside: Collection[bytes]) -> bytes:
    """The longest beginning of a name that is the name of something that is judged itself; b"" where there is none."""
    at = name.rfind(b".")
    while at > 0:
        stem = name[:at]
        if stem in present and stem not in beside and not received_by(stem, present):
            return stem
        at = name.rfind(b".", 0, at)
    return b""
