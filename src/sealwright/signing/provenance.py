"""Build provenance: an in-toto Statement v1 with SLSA Provenance v1, read exactly, of which nothing is believed yet.

    {"_type": "https://in-toto.io/Statement/v1",
     "subject": [{"name": "drive.bin", "digest": {"sha256": "5b…"}}],
     "predicateType": "https://slsa.dev/provenance/v1",
     "predicate": {"buildDefinition": {"buildType": "https://actions.github.io/buildtypes/workflow/v1",
                                       "externalParameters": {"workflow": {"repository": "…", "ref": "refs/tags/v1", "path": "…"}}},
                   "runDetails": {"builder": {"id": "https://ci.acme.example/workflows/release"}}}}

It comes bare, or in a DSSE envelope (`dsse.py`); whose signature that is, and whether it is the provenance that was asked for, says
`builder.py`. Rules (A125):

1. At most 1 MiB of JSON in UTF-8, no name twice at any depth.
2. `_type`, `predicateType` and `payloadType` are these texts, letter by letter: another predicate says something else.
3. Each subject has a digest of SHA-2 in lower-case hexadecimal, one by each algorithm. No name stands for two subjects.
4. Builder, build type and parameters are whole printable texts. Where a build type keeps its source is a table, never a guess.
5. Fields that nobody reads here are ignored, as both specifications want it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.section import MAX_TEXT
from sealwright.errors import LimitExceeded, ProvenanceRefused
from sealwright.signing.dsse import Dsse, envelope_of

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
CI_RUN = "sealwright:ci-run/1"  # of what `ci sign` writes (docs/ci/provenance.md)
MAX_BYTES = 1 << 20
MAX_SUBJECTS = 10_000
MAX_DEPTH = 16
MAX_PLACE = 4
_HEX = re.compile(r"[0-9a-f]+")
_NEXT = "Make the statement again, of exactly these files, where they are built."
Json = object
Place = tuple[str, ...]  # names on the way into `externalParameters`


@dataclass(frozen=True, slots=True)
class Source:
    """Where the source of a build was: a repository and its ref, both as the statement writes them."""

    repository: str
    ref: str


@dataclass(frozen=True, slots=True)
class SourcePlaces:
    """Where a build type keeps its source among the external parameters."""

    repository: Place
    ref: Place


SOURCES: Mapping[str, SourcePlaces] = {
    "https://actions.github.io/buildtypes/workflow/v1": SourcePlaces(("workflow", "repository"), ("workflow", "ref")),
    "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1": SourcePlaces(
        ("workflow", "repository"), ("workflow", "ref")
    ),
    CI_RUN: SourcePlaces(("source", "repository"), ("source", "ref")),
}


@dataclass(frozen=True, slots=True)
class Built:
    """One subject: something that the statement says was built. digests: all of one content."""

    name: str
    digests: frozenset[Digest]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a statement says. parameters: the texts among its external parameters, by the names on the way to each."""

    built: tuple[Built, ...]
    builder: str
    build_type: str
    parameters: Mapping[Place, str]

    def source(self, places: SourcePlaces | None) -> Source:
        """The source at these places; "" for what is not there, or where nobody knows the places."""
        if places is None:
            return Source("", "")
        return Source(self.parameters.get(places.repository, ""), self.parameters.get(places.ref, ""))


@dataclass(frozen=True, slots=True)
class Provenance:
    """A statement as it came. digest: of all its octets, by which requests and the log know it; envelope: None where it came bare."""

    digest: Digest
    statement: Statement
    envelope: Dsse | None


def read_provenance(data: bytes, subject: str) -> Provenance:
    """Read a statement, bare or in its envelope; ProvenanceRefused saying what is wrong, LimitExceeded above 1 MiB."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"At most {MAX_BYTES} are read.")
    try:
        named = _object(data)
        envelope = envelope_of(named) if "payloadType" in named or "signatures" in named else None
        statement = _statement(named if envelope is None else _object(envelope.payload))
    except ValueError as cause:
        raise ProvenanceRefused(subject, f"it is no build provenance: {display(str(cause))[:300]}", _NEXT) from cause
    return Provenance(Digest.of(data), statement, envelope)


def _statement(named: dict[str, Json]) -> Statement:
    for name, wanted in (("_type", STATEMENT), ("predicateType", PREDICATE)):
        if named.get(name) != wanted:
            raise ValueError(f"`{name}` is {str(named.get(name))[:80]!r}, not {wanted!r}")
    predicate = _table(named, "predicate")
    definition = _table(predicate, "buildDefinition")
    parameters = dict(_texts(_table(definition, "externalParameters"), ()))
    return Statement(
        built=_subjects(named.get("subject")),
        builder=_text(_table(_table(predicate, "runDetails"), "builder"), "id"),
        build_type=_text(definition, "buildType"),
        parameters=parameters,
    )


def _subjects(listed: Json) -> tuple[Built, ...]:
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_SUBJECTS:
        raise ValueError(f"`subject` is no list of 1 to {MAX_SUBJECTS}")
    found: dict[str, Built] = {}
    unnamed = []
    for one in listed:
        if not isinstance(one, dict):
            raise ValueError("a subject is no object")
        built = Built(_text(one, "name") if "name" in one else "", frozenset(_digests(one.get("digest"))))
        if not built.name:
            unnamed.append(built)
        elif found.setdefault(built.name, built) != built:
            raise ValueError(f"the subject {built.name[:80]!r} has two digests")
    return (*found.values(), *unnamed)


def _digests(named: Json) -> Iterator[Digest]:
    if not isinstance(named, dict) or not any(name.value in named for name in HashName):
        raise ValueError("a subject has neither `sha256` nor another digest of SHA-2")
    for name in HashName:
        if name.value in named:
            text = named[name.value]
            if not isinstance(text, str) or len(text) != 2 * name.size or not _HEX.fullmatch(text):
                raise ValueError(f"`{name}` of a subject is not {2 * name.size} lower-case hexadecimal digits")
            yield Digest(name, bytes.fromhex(text))


def _texts(named: dict[str, Json], way: Place) -> Iterator[tuple[Place, str]]:
    """The texts that a source can be named by; longer and deeper ones are parameters of a build that nobody reads here."""
    for name, value in named.items():
        if isinstance(value, dict) and len(way) + 1 < MAX_PLACE:
            yield from _texts(value, (*way, name))
        elif isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable():
            yield (*way, name), value


def _object(data: bytes) -> dict[str, Json]:
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as cause:
        raise ValueError("it is nested too deeply") from cause
    if not isinstance(found, dict) or _depth(found) > MAX_DEPTH:
        raise ValueError(f"it is no object of at most {MAX_DEPTH} levels")
    return found


def _depth(found: Json) -> int:
    level, depth = [found], 0
    while level:
        depth += 1
        inside: list[Json] = []
        for one in level:
            if isinstance(one, dict):
                inside += one.values()
            elif isinstance(one, list):
                inside += one
        level = [one for one in inside if isinstance(one, dict | list)]
    return depth


def _table(named: dict[str, Json], name: str) -> dict[str, Json]:
    value = named.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` is no object")
    return value


def _text(named: dict[str, Json], name: str) -> str:
    value = named.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
        raise ValueError(f"`{name}` is no printable text of 1 to {MAX_TEXT} characters")
    return value


def _once(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)[:40]}` stands twice")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")
