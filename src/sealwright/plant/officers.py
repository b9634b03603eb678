"""Officers' signatures beside trust files and deny lists: `trust.toml.PERSON.p7s`, one file a person (RULES 5).

Beside anything else such a name is no signature of ours: what a file begins with says whether it is asked for (A066).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from sealwright.artifact.source import open_artifact
from sealwright.artifact.statement import is_person
from sealwright.envelope.kinds import DENY, TRUST
from sealwright.errors import SealwrightError
from sealwright.findings import reject
from sealwright.formats.detached import Detached
from sealwright.formats.format import Candidate, Search, Slot
from sealwright.formats.sidecar import SUFFIXES
from sealwright.plant.walk import Listed

_SIGNATURE = SUFFIXES[Slot.MAKER]
SIGNED_BY_OFFICERS = (TRUST.name, DENY.name)  # the kinds of what they sign
_FIRST_LINES = tuple(f"# sealwright {kind} 1\n".encode() for kind in SIGNED_BY_OFFICERS)


def officers_beside(listed: Listed, maybe: Collection[bytes]) -> set[bytes]:
    """Of the names in a folder those of officers' signatures. maybe: its names that end as signatures do."""
    ours: dict[bytes, bool] = {}
    known, found = set(listed.files), set[bytes]()
    for name in maybe:
        for stem in _stems(os.fsdecode(name)):
            raw = os.fsencode(stem)
            if raw in known and raw not in ours:
                ours[raw] = _is_signed_by_officers(os.path.join(listed.path, raw))
            if ours.get(raw, False):
                found.add(name)
    return found


def officers_candidates(path: str, search: Search) -> Iterator[Candidate]:
    """A candidate for each officer's signature beside a trust file or deny list; with the reason where one cannot be read."""
    folder, name = os.path.split(path)
    names = search.beside if search.beside is not None else os.listdir(folder or ".")
    read = {name + suffix for suffix in SUFFIXES.values()}
    for one in sorted(names):
        if one in read or name not in _stems(one):
            continue
        try:
            yield from Detached().extract(path, search._replace(signature=os.path.join(folder, one))).candidates
        except SealwrightError as cause:
            finding = reject(cause.code, one, found=cause.what)
            yield Candidate(one, Slot.MAKER, TRUST.name, TRUST.name, None, {}, None, findings=(finding,))


def _stems(name: str) -> Iterator[str]:
    """What a name can be the signature of, if it is that of an officer's."""
    body = name.removesuffix(_SIGNATURE)
    at = body.find(".") if body != name else -1
    while at > 0:
        if is_person(body[at + 1 :]):
            yield body[:at]
        at = body.find(".", at + 1)


def _is_signed_by_officers(path: bytes) -> bool:
    if os.path.islink(path):
        return False
    try:
        with open_artifact(os.fsdecode(path)) as source:
            return source.read_at(0, max(map(len, _FIRST_LINES))).startswith(_FIRST_LINES)
    except SealwrightError:  # it is told where the file itself is looked at
        return False
