"""What travels between a survey and its workers: batches of chunks of names there, rows back. Plain values, because very many of them do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Chunk(NamedTuple):
    """Some files of one folder. root, inside: how to get there without following a link; path: the folder for people and formats.

    names: raw; beside: names in the folder that may be the signatures of these, None where they are not known and `names` were
    named by whoever asked, so that links are followed; trees: whether `names` are folders with manifests. files: their numbers in the
    spool, where they were looked at already and only their digests are wanted.
    """

    root: bytes
    inside: bytes
    path: bytes
    names: tuple[bytes, ...]
    beside: tuple[bytes, ...] | None = ()
    trees: bool = False
    files: tuple[int, ...] = ()


class Judgement(NamedTuple):
    """What `verify` with the trust file says. rule: the first that decided, "" where no signature counts; why: the first thing that
    stands against it."""

    outcome: str
    rule: str
    code: str
    why: str


class SignatureRow(NamedTuple):
    """A signature without its certificates, its sentences escaped for the screen. signer: identity of whose it is, "" for nobody's; certificate: digest of the leaf or ""."""

    signer: str
    certificate: str
    format: str
    slot: str
    state: str
    algorithm: str
    weakness: str
    authority: str
    stamped: float
    stamp_problem: str
    product: str
    version: str
    generation: int | None
    code: str
    why: str


class SignerRow(NamedTuple):
    """A signer, and one certificate of it. next_end: the next of the chain that ends; chain: DER, leaf first."""

    signer: str
    subject: str
    issuer: str
    certificate: str
    key: str
    not_before: float
    not_after: float
    next_end: float
    chain: tuple[bytes, ...]


class StampRow(NamedTuple):
    """A timestamp authority. certificate: its digest; chain: DER, its own first; bound: as in `StampSeen`."""

    certificate: str
    chain: tuple[bytes, ...]
    bound: bool


class FileRow(NamedTuple):
    """A file or tree. place: in the chunk; digest: b"" where there is none; why: of what could not be read; judged: by the trust file."""

    place: int
    size: int
    digest: bytes
    state: str
    why: str = ""
    signatures: tuple[SignatureRow, ...] = ()
    judged: Judgement | None = None


class Plain(NamedTuple):
    """The unsigned files of a chunk: of each its place, size and digest, in lists of their own because they are nearly all.

    A large one is not read as long as it can be no copy of another: then its digest is None.
    """

    places: list[int]
    sizes: list[int]
    digests: list[bytes | None]


class Answer(NamedTuple):
    """About one chunk. signers, stamps: with the first of a batch, those that this worker had not told of before."""

    plain: Plain
    files: list[FileRow]
    signers: list[SignerRow]
    stamps: list[StampRow]


Batch = tuple[Chunk, ...]


def parts(batch: Batch) -> Sequence[Batch]:
    """Its chunks one by one, and of one chunk its files; nothing for a chunk of one."""
    if len(batch) > 1:
        return [(chunk,) for chunk in batch]
    (chunk,) = batch
    if len(chunk.names) == 1:
        return []
    return [(chunk._replace(names=(name,), files=chunk.files[at : at + 1]),) for at, name in enumerate(chunk.names)]
