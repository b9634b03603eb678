"""A log recomputed from its entries (C2SP tlog-tiles): everything that is served must be what the signed checkpoint says.

    audit = Audit(source, [log key], [witness keys])
    for finding in audit.findings(before): ...
    audit.end                           the right edge that was recomputed, for the next time

1. The checkpoint is signed by the log, and no witness's line under it is false.
2. It is not smaller than the one seen before, nor another of the same size (A135, A136).
3. Every entry since then is there, and hashes into its tile of level 0; tiles above have the roots of those below (A141).
4. The entries lead to the checkpoint's root, going on from the right edge that was kept: so the tree that was seen before is the
   beginning of this one. Where they do not, the whole log is read: an entry was changed, or the log shows another history.
5. Each entry is canonical, of a type that this version knows and without a strange field; any other is remarked, not passed over.
The order of trust: the edge kept here, then the entries as they are, then tiles; a tile is never believed where entries say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.progress import Progress
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import BadSignature, LimitExceeded, LogRefused, MalformedEnvelope
from sealwright.findings import Finding, reject, warning
from sealwright.log.checkpoint import Checkpoint, Witnessed, check_checkpoint, read_checkpoint
from sealwright.log.entries import Outline, outline
from sealwright.log.headfile import MAX_NOTE_BYTES
from sealwright.log.merkle import leaf_hash
from sealwright.log.source import Source
from sealwright.log.tiles import CHECKPOINT, MAX_BUNDLE, MAX_TILE, TileName, read_bundle, read_tile, tiles_of, width_in
from sealwright.log.tree import WIDTH, Edge, Growing, TiledTree

MAX_FINDINGS = 100
_NOTHING = Edge(0, ())


class Before(NamedTuple):
    """What was seen of a log the last time. note: its checkpoint then."""

    edge: Edge
    note: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a log shows now. note: its checkpoint as it was read; witnessed: whose signatures hold under it."""

    note: str
    checkpoint: Checkpoint
    witnessed: Witnessed


class Audit:
    """One reading of a log. each: is given the outline of every entry that can be read; entries, signatures: how many were read."""

    def __init__(
        self,
        source: Source,
        logs: Iterable[VerifierKey],
        witnesses: Iterable[VerifierKey] = (),
        each: Callable[[Outline], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.source = source
        self.seen: Seen | None = None
        self.end: Edge | None = None
        self.entries = 0
        self.signatures = 0
        self._logs = tuple(logs)
        self._witnesses = tuple(witnesses)
        self._each = each
        self._progress = progress
        self._unread = 0

    def findings(self, before: Before | None = None) -> Iterator[Finding]:
        """What is wrong, or odd. After the last one `seen` has the checkpoint, and `end` the edge where entries lead to it.

        Raises LogUnavailable or Unreadable where the log could not be read.
        """
        trouble = self._begun(before)
        if trouble is not None:
            yield trouble
        elif self.seen is not None:
            yield from self._recomputed(before, _NOTHING if before is None else before.edge, self.seen.checkpoint)

    def findings_from_start(self, before: Before | None = None) -> Iterator[Finding]:
        """The same with every entry read again, also those that were seen before."""
        trouble = self._begun(before)
        if trouble is not None:
            yield trouble
        elif self.seen is not None:
            yield from self._recomputed(before, _NOTHING, self.seen.checkpoint)

    def _begun(self, before: Before | None) -> Finding | None:
        """Steps 1 and 2: what is wrong with the checkpoint."""
        try:
            self.seen = self._checkpoint()
        except (BadSignature, MalformedEnvelope, LimitExceeded) as cause:
            return reject("SW-LOG-CHECKPOINT", self.source.name, found=cause.what)
        return None if before is None else _against(before, self.seen.checkpoint)

    def _recomputed(self, before: Before | None, since: Edge, checkpoint: Checkpoint) -> Iterator[Finding]:
        """Steps 3 to 5, from an edge on."""
        growing, wrong = Growing(since), _Wrong()
        yield from self._read_entries(growing, wrong, checkpoint.size, -1 if before is None else before.edge.size)
        if wrong.missing:
            yield reject("SW-LOG-MISSING", wrong.missing, found="it is not there, or not whole")
        elif growing.edge.root != checkpoint.root:
            if before is not None and since.size:
                yield from self._other_history(before, checkpoint)
            else:
                yield from self._changed(wrong, checkpoint)
        elif before is not None and wrong.passed is not None and wrong.passed != before.edge:
            yield reject("SW-LOG-FORKED", checkpoint.origin, found=_both(before, checkpoint))
        elif wrong.behind:
            yield reject("SW-LOG-ENTRY", wrong.behind)
        else:
            self.end = growing.edge
            yield from (reject("SW-LOG-TILE", one) for one in wrong.tiles[:MAX_FINDINGS])
            yield from self._upper_tiles(growing, since.size, checkpoint.size)

    def _checkpoint(self) -> Seen:
        data = self.source.read(CHECKPOINT, MAX_NOTE_BYTES)
        if data is None:
            raise MalformedEnvelope(self.source.name, "there is no checkpoint", "Name the folder or URL of a log.")
        try:
            note = data.decode()
        except UnicodeDecodeError as cause:
            raise MalformedEnvelope(self.source.name, "its checkpoint is no text", "Name another log.") from cause
        checkpoint = read_checkpoint(note, self.source.name)
        witnessed = check_checkpoint(checkpoint, self._logs, self._witnesses, self.source.name)
        return Seen(note, checkpoint, witnessed)

    def _read_entries(self, growing: Growing, wrong: _Wrong, size: int, passing: int) -> Iterator[Finding]:
        """Every entry since `growing`, into it; what is not in its tile of level 0 into `wrong`, and the edge when `passing` a size."""
        for number in range(growing.size // WIDTH, -(-size // WIDTH)):
            width = width_in(size, 0, number)
            entries = self._bundle(number, width)
            if entries is None:
                wrong.missing = TileName(None, number, width).path
                return
            hashes = [leaf_hash(entry) for entry in entries]
            known = growing.size - number * WIDTH
            if known and _inner_edge(hashes, known) != growing.edge.hashes[-known.bit_count() :]:
                wrong.behind = f"one of the entries {number * WIDTH} to {growing.size - 1}"
            if known or width < WIDTH or growing.size < passing <= growing.size + WIDTH:
                for leaf in hashes[known:]:
                    growing.add(leaf)
                    if growing.size == passing:
                        wrong.passed = growing.edge
            else:
                growing.add_tile(hashes)
            tile = self._tile(0, number, width)
            if tile != hashes:
                wrong.tiles.append(TileName(0, number, width).path)
                wrong.entries += _differing(number, tile, hashes)
            for at, entry in enumerate(entries[known:], number * WIDTH + known):
                if (odd := self._look(at, entry)) is not None:
                    yield odd
            self.entries += width - known
            if self._progress is not None:
                self._progress.advance(width - known)

    def _look(self, number: int, entry: bytes) -> Finding | None:
        try:
            found = outline(entry)
        except ValueError as cause:
            self._unread += 1
            odd = self._unread <= MAX_FINDINGS
            return warning("SW-LOG-ENTRY-UNKNOWN", f"entry {number}", found=str(cause)[:160]) if odd else None
        if found.signature:
            self.signatures += 1
        if self._each is not None:
            self._each(found)
        return None

    def _upper_tiles(self, growing: Growing, since: int, size: int) -> Iterator[Finding]:
        """The tiles of level 1 and above against the roots that were recomputed; those from before `since` were compared then."""
        levels: dict[int, dict[int, bytes]] = {}
        for node in growing.finished:
            levels.setdefault(node.level, {})[node.number] = node.hash
        found = 0
        for name in tiles_of(size, since):
            if not name.level or found >= MAX_FINDINGS:
                continue
            hashes = self._tile(name.level, name.number, name.width)
            first, known = name.number * WIDTH, levels.get(name.level, {})
            for at in range(name.width):
                wanted = known.get(first + at)
                if wanted is not None and (hashes is None or hashes[at] != wanted):
                    found += 1
                    yield reject("SW-LOG-TILE", name.path)
                    break

    def _changed(self, wrong: _Wrong, checkpoint: Checkpoint) -> Iterator[Finding]:
        """Entries that do not lead to the root: the tiles say which were changed, if the tiles do lead to it."""
        if wrong.entries and self._root_by_tiles(checkpoint.size) == checkpoint.root:
            yield from (reject("SW-LOG-ENTRY", f"entry {one}") for one in wrong.entries[:MAX_FINDINGS])
            return
        yield reject("SW-LOG-ROOT", self.source.name, str(checkpoint.size))

    def _other_history(self, before: Before, checkpoint: Checkpoint) -> Iterator[Finding]:
        """The new entries do not go on from what was seen. The whole log tells why: another history, or something was changed."""
        again = Audit(self.source, self._logs, self._witnesses)
        growing, wrong = Growing(_NOTHING), _Wrong()
        for _ in again._read_entries(growing, wrong, checkpoint.size, -1):
            pass
        if not wrong.missing and growing.edge.root == checkpoint.root:
            yield reject("SW-LOG-FORKED", checkpoint.origin, found=_both(before, checkpoint))
        else:
            yield from self._changed(wrong, checkpoint)

    def _root_by_tiles(self, size: int) -> bytes | None:
        growing = Growing(_NOTHING)
        for number in range(-(-size // WIDTH)):
            tile = self._tile(0, number, width_in(size, 0, number))
            if tile is None:
                return None
            for leaf in tile:
                growing.add(leaf)
        return growing.edge.root

    def _bundle(self, number: int, width: int) -> list[bytes] | None:
        return self._at(None, number, width, MAX_BUNDLE, read_bundle)

    def _tile(self, level: int, number: int, width: int) -> list[bytes] | None:
        return self._at(level, number, width, MAX_TILE, read_tile)

    def _at(
        self, level: int | None, number: int, width: int, limit: int, read: Callable[[bytes, int], list[bytes]]
    ) -> list[bytes] | None:
        """A tile, or of the full one that has taken its place as much as this tree has; None where it is not there or not whole."""
        for has in dict.fromkeys((width, WIDTH)):
            try:
                data = self.source.read(TileName(level, number, has).path, limit)
                if data is not None:
                    return read(data, has)[:width]
            except (ValueError, LimitExceeded):
                return None
        return None


@dataclass(slots=True)
class _Wrong:
    """What did not fit on the way. missing: the path of a bundle; tiles: paths; entries: numbers of those that differ from their tile.

    behind: entries that were seen before and are others now; passed: the edge where a size that was seen before was passed.
    """

    missing: str = ""
    tiles: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    behind: str = ""
    passed: Edge | None = None


def _against(before: Before, checkpoint: Checkpoint) -> Finding | None:
    """What the checkpoint says against the one that was seen before."""
    old = read_checkpoint(before.note, "the checkpoint that was kept")
    if checkpoint.origin != old.origin:
        raise LogRefused(checkpoint.origin, f"what was kept is of {old.origin}", "Keep one state for each log.")
    if checkpoint.size < old.size:
        return reject("SW-LOG-REWOUND", checkpoint.origin, found=_both(before, checkpoint))
    if checkpoint.size == old.size and checkpoint.root != old.root:
        return reject("SW-LOG-FORKED", checkpoint.origin, found=_both(before, checkpoint))
    return None


def _both(before: Before, checkpoint: Checkpoint) -> str:
    old = Digest.of(before.note.encode())
    return f"{before.edge.size} entries in the checkpoint {str(old)[7:23]} that was kept, {checkpoint.size} in this one"


def _inner_edge(hashes: Sequence[bytes], count: int) -> tuple[bytes, ...]:
    """The right edge of the first so many hashes of a tile."""
    return TiledTree(lambda *_: hashes).edge(count).hashes


def _differing(number: int, tile: Sequence[bytes] | None, hashes: Sequence[bytes]) -> list[str]:
    if tile is None:
        return []
    return [str(number * WIDTH + at) for at, (one, other) in enumerate(zip(tile, hashes, strict=True)) if one != other]
