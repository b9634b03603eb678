"""Proofs made from a log's public files: by anybody who has an export or can reach the log, without its database.

    proof_from(FolderSource("export"), 73894)          a `.tlog-proof` under the checkpoint that lies there

Whether the checkpoint is the log's own is for who verifies the proof; that the files lead to it is checked here.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealwright.artifact.digest import Digest
from sealwright.errors import LogRefused, MalformedEnvelope, UsageError
from sealwright.log.checkpoint import Checkpoint, read_checkpoint
from sealwright.log.entry import find_signature
from sealwright.log.headfile import MAX_NOTE_BYTES
from sealwright.log.merkle import leaf_hash, root_of
from sealwright.log.proof import proof_text
from sealwright.log.source import Source
from sealwright.log.tiles import CHECKPOINT, MAX_BUNDLE, MAX_TILE, TileName, read_bundle, read_tile, width_in
from sealwright.log.tree import WIDTH, TiledTree, inclusion_path

_AGAIN = "Ask for the log again; what its checkpoint signs, it must show."


def proof_from(source: Source, leaf: int) -> bytes:
    """The proof of one entry. LogRefused where the files do not lead to the checkpoint; UsageError for an entry that is not there."""
    note, checkpoint = _checkpoint(source)
    if not 0 <= leaf < checkpoint.size:
        raise UsageError(f"entry {leaf}", f"the log has {checkpoint.size}", "Numbers begin with 0.")
    number, at = divmod(leaf, WIDTH)
    entry = read_entries(source, number, width_in(checkpoint.size, None, number))[at]

    def tile(level: int, number: int) -> Sequence[bytes]:
        width = width_in(checkpoint.size, level, number)
        return read_tile(_file(source, TileName(level, number, width), MAX_TILE), width)

    try:
        path = inclusion_path(TiledTree(tile), leaf, checkpoint.size)
    except ValueError as cause:
        raise LogRefused(source.name, f"a tile is not whole: {cause}", _AGAIN) from cause
    if root_of(leaf_hash(entry), leaf, checkpoint.size, path) != checkpoint.root:
        raise LogRefused(f"entry {leaf}", "it does not lead to the log's checkpoint", _AGAIN)
    return proof_text(entry, leaf, path, note).encode()


def leaf_of(source: Source, signature: Digest) -> int:
    """The number of the entry of a signature value; UsageError where the log has none."""
    _, checkpoint = _checkpoint(source)
    for number in range(-(-checkpoint.size // WIDTH)):
        entries = read_entries(source, number, width_in(checkpoint.size, None, number))
        for at in find_signature(entries, signature):
            return number * WIDTH + at
    raise UsageError(str(signature), "no entry of this log is of that signature", "Ask for the log of its signer.")


def read_entries(source: Source, number: int, width: int) -> list[bytes]:
    """A bundle of entries, whole; LogRefused."""
    try:
        return read_bundle(_file(source, TileName(None, number, width), MAX_BUNDLE), width)
    except ValueError as cause:
        raise LogRefused(TileName(None, number, width).path, str(cause), _AGAIN) from cause


def _checkpoint(source: Source) -> tuple[str, Checkpoint]:
    data = source.read(CHECKPOINT, MAX_NOTE_BYTES)
    if data is None:
        raise UsageError(source.name, "there is no checkpoint", "Name the folder or URL of a log.")
    try:
        note = data.decode()
        return note, read_checkpoint(note, source.name)
    except (UnicodeDecodeError, MalformedEnvelope) as cause:
        raise LogRefused(source.name, "its checkpoint is none", _AGAIN) from cause


def _file(source: Source, name: TileName, limit: int) -> bytes:
    data = source.read(name.path, limit)
    if data is None:
        raise LogRefused(name.path, "it is missing", _AGAIN)
    return data
