"""What `ci sign` says of its run to the service and to the log of the job, and what `ci verify` says."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.output import Replace, refuse_taken, write_atomic
from sealwright.artifact.source import open_artifact, read_file
from sealwright.errors import ProvenanceRefused
from sealwright.formats.format import Coverage, Prepared
from sealwright.service.cirun import CiRun, run_of, statement_path
from sealwright.signing.builder import Builder, Proven, judged, others_than, read_spki
from sealwright.signing.items import Item, prepared_of
from sealwright.signing.provenance import MAX_BYTES, SOURCES, Provenance, read_provenance
from sealwright.texts.words import say

if TYPE_CHECKING:
    from sealwright.service.wire import StandingRequest

QUIET_S = 60.0
MAX_LINES = 100
_NEXT = "Do not use it: get it again from where it was built."


@dataclass(slots=True)
class Told:
    """A run as `ServicePlace` wants its origin. given: the builder's statement, b"" for the job's own; statements: those that were sent.

    path: where they are written, "" where the builder's lies there already.
    """

    run: CiRun
    path: str
    given: bytes
    replace: Replace
    json: bool
    statements: list[bytes] = field(default_factory=list)
    _shown: tuple[str, ...] = ()
    _at: float = 0.0

    @classmethod
    def of(cls, args: argparse.Namespace, replace: Replace) -> Told:
        """The run of this job; ProvenanceRefused for a statement of --provenance that is none, OutputRefused where none can be written."""
        given, path = b"", statement_path(args.paths, args.out)
        if args.provenance is not None:
            given = read_file(args.provenance, MAX_BYTES).strip() + b"\n"
            read_provenance(given, args.provenance)
            if os.path.abspath(args.provenance) == os.path.abspath(path):
                path = ""
        if path:
            refuse_taken(path, replace)
        return cls(run_of(os.environ, args.named), path, given, replace, args.json)

    def statement(self, artifacts: Sequence[Prepared]) -> bytes:
        """The builder's, else the job's own."""
        made = self.given or self.run.statement(artifacts)
        if made not in self.statements:
            self.statements.append(made)
        return made

    def word(self, key: str, items: Sequence[Item], provenance: bytes) -> str:
        """The same where the job is run again."""
        return self.run.word(key, items, provenance)

    def watched(self, standing: StandingRequest) -> None:
        """One line where something changed, and one a minute, so that nobody takes the job for dead."""
        now, shown = time.monotonic(), (standing.id, standing.state, *standing.approvals)
        if shown == self._shown and now - self._at < QUIET_S:
            return
        self._shown, self._at = shown, now
        approvals = display(", ".join(standing.approvals)) or "-"
        print(say("ci.waits", id=standing.id, state=standing.state, approvals=approvals), file=sys.stderr, flush=True)

    def write(self) -> None:
        """The statements, one a line."""
        if not self.path:
            return
        write_atomic(self.path, b"".join(self.statements), replace=self.replace)
        if self.json:
            from sealwright.cli.jsonout import line

            print(line({"path": self.path, "outcome": "provenance"}))
        else:
            print(say("ci.statement", path=display(self.path)))


def verified(args: argparse.Namespace) -> Proven:
    """The statement that holds for the paths; ProvenanceRefused saying what was demanded and found."""
    path = args.provenance if args.provenance is not None else statement_path(args.paths, None)
    lines = [one for one in read_file(path, MAX_LINES * MAX_BYTES).split(b"\n") if one.strip()]
    if not 1 <= len(lines) <= MAX_LINES:
        raise ProvenanceRefused(path, f"{len(lines)} statements", f"1 to {MAX_LINES} are read.")
    spki = read_spki(read_file(args.builder_key, MAX_BYTES), args.builder_key)
    builder = Builder("--builder", args.builder, spki, (args.build_type,), SOURCES.get(args.build_type), args.others)
    refused: list[ProvenanceRefused] = []
    for line in lines:
        try:
            return _one(args, read_provenance(line, path), builder)
        except ProvenanceRefused as cause:
            refused.append(cause)
    raise refused[0]


def _one(args: argparse.Namespace, provenance: Provenance, builder: Builder) -> Proven:
    found = judged(provenance, [builder], [_prepared(path, provenance) for path in args.paths])
    if not found.verified:
        raise ProvenanceRefused(
            "provenance", f"wanted: the signature of the builder {display(builder.id)}; found: none", _NEXT
        )
    for name, wanted, said in (
        ("source", args.source, found.source.repository),
        ("ref", args.source_ref, found.source.ref),
    ):
        if wanted is not None and wanted != said:
            raise ProvenanceRefused(
                "provenance", f"wanted: {name} {display(wanted)}; found: {name} {display(said) or '-'}", _NEXT
            )
    return found


def _prepared(path: str, provenance: Provenance) -> Prepared:
    """A file by the digests that every subject has."""
    named = [{digest.algorithm for digest in one.digests} for one in provenance.statement.built]
    algorithms = set.intersection(*named) or {HashName.SHA256}
    with open_artifact(path) as source:
        digests: dict[HashName, Digest] = dict(source.digests(algorithms, None))
        return Prepared("detached", "file", path, digests, None, source.size, Coverage.whole(source.size), Claims())


def verified_lines(paths: Sequence[str], found: Proven) -> list[str]:
    """For people."""
    return [say("ci.verified", path=display(path)) for path in paths] + provenance_lines(found)


def provenance_lines(found: Proven) -> list[str]:
    """Builder, build type and source of a statement."""
    if found.provenance is None:
        return []
    said = found.provenance.statement
    return [
        say("ci.builder", builder=display(said.builder), type=display(said.build_type)),
        say("ci.source", source=display(found.source.repository) or "-", ref=display(found.source.ref) or "-"),
    ]


def built_lines(provenance: Provenance, items: Sequence[Item], trusted: bool) -> list[str]:
    """For an approver; ProvenanceRefused where it is not of what is to be signed. trusted: what the service says of its signature."""
    statement = provenance.statement
    others_than([prepared_of(item, f"item {number}") for number, item in enumerate(items)], statement)
    found = Proven(provenance, trusted, statement.source(SOURCES.get(statement.build_type)))
    said = say("approve.provenance-signed") if trusted else say("approve.provenance-bare")
    return [said, *provenance_lines(found)]


def verified_object(paths: Sequence[str], found: Proven) -> dict[str, object]:
    """For programs."""
    said = None if found.provenance is None else found.provenance.statement
    return {
        "paths": list(paths),
        "outcome": "verified",
        "builder": None if said is None else said.builder,
        "build_type": None if said is None else said.build_type,
        "source": found.source.repository or None,
        "source_ref": found.source.ref or None,
    }
