"""Which installed artifacts a new trust file or revocation would stop: both are tried on them in one run, before a plant stops.

An inventory is a folder, each file of which is judged by its own signature, or a list: the lines that `verify --json` printed. A
file of the list that is here is judged whole; of the others the record is asked, which can only say that trust would end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file
from sealwright.errors import UsageError
from sealwright.texts.words import say
from sealwright.trust.belief import Believed
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Request, map_paths

MAX_LIST_BYTES = 256 << 20


class Judgement(NamedTuple):
    """What travels between processes: the path, whether it is trusted, and why not."""

    path: str
    trusted: bool
    why: str


class Moved(NamedTuple):
    """An artifact whose trust would change. by_record: the file itself is not here."""

    path: str
    why: str
    by_record: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """judged: how many artifacts said something; unjudged: how many said too little."""

    lost: tuple[Moved, ...]
    won: tuple[Moved, ...]
    judged: int
    unjudged: int = 0


def effect(inventory: str, old: Believed, new: Believed, request: Request) -> Effect:
    """Both judged over the same artifacts; many by all cores. UsageError where the list is none."""
    if os.path.isdir(inventory):
        return _compared([inventory], old, new, request)
    records = list(_records(inventory))
    here = [path for path, _ in records if os.path.lexists(path)]
    whole = _compared(here, old, new, request) if here else Effect((), (), 0)
    lost, unjudged, known = list(whole.lost), 0, {*here}
    asked = _Asked.of(new)
    others = [(path, record) for path, record in records if path not in known]
    for path, record in others:
        if record.get("outcome") != "trusted":
            unjudged += 1
        elif why := asked.stops(record):
            lost.append(Moved(path, why, True))
    return Effect(tuple(lost), whole.won, whole.judged + len(others) - unjudged, unjudged)


def _compared(paths: list[str], old: Believed, new: Believed, request: Request) -> Effect:
    lost, won, count = [], [], 0
    before = list(map_paths(paths, old, request, _judgement))
    for one, other in zip(before, map_paths(paths, new, request, _judgement), strict=True):
        count += 1
        if one.trusted and not other.trusted:
            lost.append(Moved(one.path, other.why))
        elif other.trusted and not one.trusted:
            won.append(Moved(one.path, one.why))
    return Effect(tuple(lost), tuple(won), count)


def _judgement(verdict: Verdict) -> Judgement:
    deciding = [finding.sentence for finding in verdict.findings if finding.severity.value in ("reject", "undecided")]
    return Judgement(verdict.path, verdict.outcome is Outcome.TRUSTED, deciding[0] if deciding else "")


def _records(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(read_file(path, MAX_LIST_BYTES).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            name = record["path"]
            if not isinstance(record, dict) or not isinstance(name, str) or "\0" in name or not name:
                raise ValueError(name)
        except (ValueError, KeyError, TypeError, RecursionError) as cause:
            raise UsageError(
                path,
                f"line {number} is no JSON object with a path",
                "Make the list with: sealwright verify FOLDER --recursive --trust trust.toml --json",
            ) from cause
        yield name, record


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a record can be asked: whether something it names is denied or gone."""

    denied: Mapping[tuple[str, str], list[tuple[datetime | None, str]]]
    anchors: frozenset[str]
    least: Mapping[str, int]

    @classmethod
    def of(cls, believed: Believed) -> _Asked:
        denied: dict[tuple[str, str], list[tuple[datetime | None, str]]] = {}
        least = dict(believed.trust.minimums)
        for entry in believed.denied:
            if entry.what == "below":
                least[entry.value] = max(entry.generation, least.get(entry.value, 0))
            else:
                denied.setdefault((entry.what, entry.value), []).append((entry.since, entry.reason))
        return cls(denied, frozenset(anchor.name for anchor in believed.trust.anchors), least)

    def stops(self, record: Mapping[str, Any]) -> str:
        """Why the artifact would no longer be trusted, as far as its record can say; "" where it says nothing."""
        formats = [one for one in str(record.get("format") or "").split("+") if one]
        for form in (*formats, *(one.partition(":")[0] for one in formats), "*"):
            for _, reason in self.denied.get(("artifact", f"{form} {record.get('artifact')}"), ()):
                return say("inventory.denied", reason=reason)
        claims = record.get("claims")
        claims = claims if isinstance(claims, dict) else {}
        least, found = self.least.get(str(claims.get("product"))), claims.get("generation")
        if least is not None and isinstance(found, int) and found < least:
            return say("inventory.too-old", found=found, wanted=least)
        signers = record.get("signers")
        proved = _time(record.get("times"))
        for signer in signers if isinstance(signers, list) else []:
            if isinstance(signer, dict) and signer.get("accepted") and (why := self._signer(signer, proved)):
                return why
        return ""

    def _signer(self, signer: Mapping[str, Any], proved: datetime | None) -> str:
        for what in ("key", "certificate"):
            for since, reason in self.denied.get((what, str(signer.get(what))), ()):
                if since is None or proved is None or proved >= since:
                    return say("inventory.signer-denied", reason=reason)
        anchor = signer.get("anchor")
        return say("inventory.anchor-gone", name=anchor) if anchor and anchor not in self.anchors else ""


def _time(times: object) -> datetime | None:
    text = times.get("proved") if isinstance(times, dict) else None
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None


def same_bytes(old: Believed, new: Believed) -> bool:
    """Whether nothing at all differs."""
    same: bool = old.trust.digest == new.trust.digest
    return same and old.denied == new.denied and {*map(Digest.of, old.crls)} == {*map(Digest.of, new.crls)}
