"""What a release changes against the one before it, for whoever approves: claims, key, and file by file.

    changes = compared(Release(before, items), Release(request, items))
    changes.back, changes.files
    contents(items)                                where there is no release before it

Two warnings are loud: a release that goes back (a lower generation, or a version that is lower where both are numbers and dots), and one
that has the version or generation of the last one over other bytes (A144, A160).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec

from sealwright.artifact.manifest import parse_manifest
from sealwright.artifact.names import display
from sealwright.envelope.kinds import TUF
from sealwright.errors import SealwrightError
from sealwright.formats.role import lines_of_role
from sealwright.log.canonical import read_canonical
from sealwright.signing.items import Item
from sealwright.signing.request import SigningRequest

_NUMBERS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,9}")


class Change(StrEnum):
    """What became of a file."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Release:
    """What was asked for: the request's bytes, read, and what it lists."""

    request: SigningRequest
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class FileState:
    """A file of a release. digest: `sha256:…`; size: octets, None where only the digest is listed."""

    digest: str
    size: int | None


@dataclass(frozen=True, slots=True)
class FileChange:
    """name: for people; before, now: None where the file is not there."""

    name: str
    change: Change
    before: FileState | None
    now: FileState | None


@dataclass(frozen=True, slots=True)
class ClaimChange:
    """What is claimed otherwise than before, "" for nothing."""

    name: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Changes:
    """claims: what changed of them, the key among them; files: in order of their names, those with a size last; same: how many files did not change.

    back: why it is older than the last release, "" where it is not; again: what both have alike although the bytes differ, "" for nothing.
    """

    claims: tuple[ClaimChange, ...]
    files: tuple[FileChange, ...]
    same: int
    back: str
    again: str


def compared(before: Release, now: Release) -> Changes:
    """What `now` changes."""
    old, new = contents(before.items), contents(now.items)
    files = []
    for name in sorted(old.keys() | new.keys(), key=lambda one: (_last(new.get(one) or old[one]), one)):
        was, becomes = old.get(name), new.get(name)
        if was is None or becomes is None:
            change = Change.REMOVED if becomes is None else Change.ADDED
        elif was.digest != becomes.digest:
            change = Change.CHANGED
        else:
            continue
        files.append(FileChange(name, change, was, becomes))
    claims = tuple(
        ClaimChange(name, was, becomes)
        for (name, was), (_, becomes) in zip(_claims(before.request), _claims(now.request), strict=True)
        if was != becomes
    )
    same = len(new) - sum(one.now is not None for one in files)
    return Changes(claims, tuple(files), same, _back(before.request, now.request), _again(before, now, bool(files)))


def contents(items: Sequence[Item]) -> Mapping[str, FileState]:
    """By name what a release signs: each artifact, or what a manifest lists, or what a repository's role says. What is called like
    something before it gets a number: nothing stands in for it."""
    found: dict[str, FileState] = {}
    numbers: Counter[str] = Counter()
    for item in items:
        for name, state in _holds(item):
            found[_free(found, name, numbers)] = state
    return dict(sorted(found.items(), key=lambda pair: _last(pair[1])))


def _last(state: FileState) -> bool:
    """Who signs a role comes before its targets: of many lines only the first are shown."""
    return state.size is not None


def _holds(item: Item) -> Iterable[tuple[str, FileState]]:
    fields = read_canonical(item.line)
    name = str(fields.get("file", "?"))
    read = _CONTENTS.get(str(fields.get("format")))
    listed = read(item, name) if read is not None else None
    if listed is not None:
        return listed
    digests, size = fields.get("artifact"), fields.get("size")
    digest = digests[0] if isinstance(digests, tuple) and digests else "?"
    return [(name, FileState(digest, size if isinstance(size, int) else None))]


def _claims(request: SigningRequest) -> list[tuple[str, str]]:
    claims = request.claims
    return [
        ("version", claims.version or ""),
        ("generation", "" if claims.generation is None else str(claims.generation)),
        ("hardware", ", ".join(claims.hardware)),
        ("environment", claims.environment or ""),
        ("key", str(request.key)),
        ("requester", request.requester),
    ]


def _back(before: SigningRequest, now: SigningRequest) -> str:
    old, new = before.claims, now.claims
    if old.generation is not None and (new.generation is None or new.generation < old.generation):
        return f"generation {'none' if new.generation is None else new.generation} after {old.generation}"
    numbers = _numbers(old.version), _numbers(new.version)
    if numbers[0] is not None and numbers[1] is not None and numbers[1] < numbers[0]:
        return f"version {new.version} after {old.version}"
    return ""


def _numbers(version: str | None) -> tuple[int, ...] | None:
    """A version as numbers, zeros at its end left away; None for any other text."""
    if version is None or not _NUMBERS.fullmatch(version):
        return None
    numbers = [int(one) for one in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _again(before: Release, now: Release, differs: bool) -> str:
    old, new = before.request.claims, now.request.claims
    if not differs:
        return ""
    if new.version is not None and new.version == old.version:
        return f"version {new.version}"
    if new.generation is not None and new.generation == old.generation:
        return f"generation {new.generation}"
    return ""


def _listed(item: Item, name: str) -> list[tuple[str, FileState]] | None:
    """What a manifest lists; None where it is none that can be read, which the service refuses anyway."""
    if item.content is None:
        return None
    try:
        manifest = parse_manifest(item.content, name)
    except SealwrightError:
        return None
    alone = len(manifest.files) == 1
    size = manifest.total_bytes if alone else None
    files = [
        (display(entry.name), FileState(f"{manifest.algorithm}:{entry.digest.hex()}", size)) for entry in manifest.files
    ]
    return files + [(display(link.name), FileState(f"-> {display(link.target)}", None)) for link in manifest.links]


def _targets(item: Item, name: str) -> list[tuple[str, FileState]] | None:
    """What a repository's role says; None where it cannot be read here."""
    if item.content is None or find_spec("tuf") is None:
        return None
    try:
        return [
            (display(f"{name}: {one.name}"), FileState(display(one.said), one.size))
            for one in lines_of_role(item.content, name)
        ]
    except SealwrightError:
        return None


_CONTENTS = {"manifest": _listed, TUF.name: _targets}


def _free(found: Mapping[str, FileState], name: str, numbers: Counter[str]) -> str:
    """A name that is not taken: two artifacts of a request may be called alike. numbers: how many were called so, by name."""
    free = name
    while free in found:
        numbers[name] += 1
        free = f"{name} ({numbers[name] + 1})"
    return free
