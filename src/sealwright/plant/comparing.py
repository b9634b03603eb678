"""A file compared with what its source says of it by another way: a digest told, or a list of digests (grade `compared`).

    --compare sha256:e3b0c4…          read out on the telephone, printed on paper
    --compare SHA256SUMS              a list that came another way than the file (digestlist.py has its shapes)

1. There must be a digest for this very file by SHA-256, SHA-384 or SHA-512; a list without one is refused and never "nothing to check" (A033).
2. Everything said of the file must hold, by whichever algorithm; two digests by one algorithm for one name are refused.
3. MD5 and SHA-1 find damage and no attacker: they are compared, said to be weak, and make nothing `compared`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.errors import DiffersFromSource, NothingCompared, UsageError
from sealwright.plant.digestlist import MAX_BYTES, Sum, parse_digest_list

STRONG = frozenset(name.value for name in HashName)
WEAK = frozenset(("md5", "sha1"))
_GIVEN = re.compile(r"((?:sha|md)-?[0-9]{1,3}):([0-9A-Fa-f]*)", re.IGNORECASE)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a source says of one file, at least one digest by SHA-2. said: where it says so, in words.

    weak: what it says by MD5 and SHA-1; unchecked: algorithms that are not computed here.
    """

    said: str
    strong: tuple[Digest, ...]
    weak: Mapping[str, bytes]
    unchecked: tuple[str, ...] = ()

    @property
    def algorithms(self) -> frozenset[str]:
        """What must be computed of the file."""
        return frozenset(one.algorithm.value for one in self.strong) | frozenset(self.weak)


class Source:
    """The second way, read once: a digest told, or a list. text: what `--compare` was given."""

    def __init__(self, text: str) -> None:
        if _GIVEN.fullmatch(text) and not os.path.lexists(text):
            self.subject, self.sums = "--compare", _told(text)
            self.data: bytes | None = None
        elif re.fullmatch(r"[0-9A-Fa-f]{32,}", text):
            raise UsageError(
                "--compare", "the algorithm is missing", f"Write it in front: --compare sha256:{text[:8]}…"
            )
        else:
            self.subject, self.data = text, read_file(text, MAX_BYTES)
            self.sums = parse_digest_list(self.data, text)

    def wanted(self, name: str) -> Wanted:
        """What it says of the file of this name; NothingCompared with what was read instead.

        name: the last part, or the path that the list itself has for it.
        """
        unnamed = [one for one in self.sums if one.name is None]
        if unnamed and len(unnamed) != len(self.sums):
            raise NothingCompared(
                self.subject,
                f"line {unnamed[0].line} has a digest without a name, among others that have one",
                "Have the vendor say whose it is, and give it with --compare sha256:HEX.",
            )
        matching = unnamed or _named(self.sums, name)
        if not matching:
            raise self._not_in_it(name)
        return self._of(matching, name)

    def by_member(self, folder: str) -> dict[str, list[Sum]]:
        """What it says of the files of a folder, by their names inside; it may write them so, with the folder's name, or as whole paths."""
        found: dict[str, list[Sum]] = {}
        for one in self.sums:
            if one.name is not None:
                name = _slashes(one.name)
                found.setdefault(name, []).append(one)
                _, there, rest = f"/{name}".partition(f"/{folder}/")
                if there:
                    found.setdefault(rest, []).append(one)
        return found

    def wanted_inside(self, members: Mapping[str, Sequence[Sum]], name: str) -> Wanted:
        """The same as `wanted` for a file of a folder. members: of `by_member`."""
        if name not in members:
            raise self._not_in_it(name)
        return self._of(members[name], name)

    def names(self) -> frozenset[str]:
        """The names it lists, as paths inside a folder."""
        return frozenset(_inside(one.name) for one in self.sums if one.name is not None)

    def _of(self, matching: Sequence[Sum], name: str) -> Wanted:
        said: dict[str, bytes] = {}
        for one in matching:
            if said.setdefault(one.algorithm, one.value) != one.value:
                raise NothingCompared(
                    self.subject,
                    f"it has two different digests ({one.algorithm}) for {display(name)}, one of them in line {one.line}",
                    "Ask the vendor which one is right.",
                )
        where = self.subject if self.data is None else f"{os.path.basename(self.subject)}, line {matching[0].line},"
        strong = tuple(Digest(HashName(key), value) for key, value in said.items() if key in STRONG)
        weak = {key: value for key, value in said.items() if key in WEAK}
        if not strong and not weak:
            raise NothingCompared(
                self.subject,
                f"it has {', '.join(sorted(said))} of {display(name)}, which nobody compares here",
                "Ask the vendor for SHA-256.",
            )
        return Wanted(where, strong, weak, tuple(sorted(set(said) - STRONG - WEAK)))

    def _not_in_it(self, name: str) -> NothingCompared:
        names = sorted(display(one) for one in self.names())
        near = difflib.get_close_matches(display(name), names, _SHOWN) or names[:_SHOWN]
        return NothingCompared(
            self.subject,
            f"{len(self.sums)} digests were read, none of them for {display(name)}; there are {', '.join(near)}",
            "If the file was renamed, say what it is called there: --listed-as NAME",
        )


def check_same(wanted: Wanted, found: Mapping[str, bytes], path: str) -> None:
    """DiffersFromSource unless the file has every digest that the source says. found: computed of it, by algorithm."""
    for algorithm, value in {**{one.algorithm.value: one.value for one in wanted.strong}, **wanted.weak}.items():
        if found[algorithm] != value:
            raise DiffersFromSource(
                path,
                f"its {algorithm} is {found[algorithm].hex()}, and {wanted.said} says {value.hex()}",
                "Do not install it. Fetch it again, and tell the vendor if it differs again.",
            )


def check_strong(wanted: Wanted, path: str) -> None:
    """NothingCompared where all that agreed is weak."""
    if not wanted.strong:
        raise NothingCompared(
            path,
            f"only {' and '.join(sorted(wanted.weak))} agreed, which finds damage and stops no attacker",
            "Ask the vendor for SHA-256; without it receive it as uncompared, where this comparison is kept.",
        )


def states(algorithms: Collection[str]) -> dict[str, hashlib._Hash]:
    """Fresh hash states, the weak ones as well."""
    return {name: hashlib.new(name, usedforsecurity=name not in WEAK) for name in algorithms}


def _told(text: str) -> tuple[Sum, ...]:
    try:
        return parse_digest_list(text.encode(), "--compare")
    except NothingCompared as cause:
        raise UsageError("--compare", cause.what.partition(": ")[2], "Write sha256: and its 64 digits.") from cause


def _named(sums: Sequence[Sum], name: str) -> list[Sum]:
    """The lines with exactly this path; else those whose last part it is."""
    exact = [one for one in sums if one.name is not None and _inside(one.name) == name]
    return exact or [one for one in sums if one.name is not None and _last(one.name) == name]


def _inside(name: str) -> str:
    return name.removeprefix("./")


def _slashes(name: str) -> str:
    """Windows' paths with `/`; a backslash elsewhere is part of a name."""
    return _inside(name.replace("\\", "/") if re.match(r"[A-Za-z]:\\|\\\\|\.\\", name) else name)


def _last(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]
