"""Who signed what in a share, a stick, a folder of vendors' files: everything is looked at, nothing is written, nobody is trusted.

1. The walk names what it does not read (`walk.py`); files go over all cores in batches (`crew.py`, `looking.py`).
2. What is seen goes into a spool on disk (`spool.py`), so that memory does not grow with the number of files.
3. Signature files are looked at with the file they lie beside, as `verify --recursive` does it; one that lies alone is a file.
4. A folder with a signed manifest is looked at as a whole as well; what is in it is then listed, not unsigned.
5. Evidence and reports that a signed statement of the plant binds by digest belong to what that is about (`belonging.py`).
6. A large file that nobody signed is read whole only where another one has its size, because it may be a copy: of a medium that
   holds little else than images and archives only the ends are read.
7. With a trust file each signed file is judged as `verify` judges it, so that it shows what enforcing would refuse.

    with survey([b"/media/stick"], now=datetime.now(UTC)) as seen:
        for signer in seen.by_signer(): print(signer.subject, signer.files)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from sealwright.artifact.progress import Progress
from sealwright.formats.sidecar import (
    ENDINGS_RAW,
    IMA_LIST_SUFFIX,
    MANIFEST_SUFFIX,
    RECEIVING_SUFFIX,
    is_beside,
)
from sealwright.plant.belonging import by_name, listed_here
from sealwright.plant.crew import Crew
from sealwright.plant.looking import Worker
from sealwright.plant.officers import officers_beside
from sealwright.plant.rows import Answer, Batch, Chunk, parts
from sealwright.plant.spool import Spool, spooling
from sealwright.plant.walk import MAX_DEPTH, Left, Listed, NotRead, is_folder, walk

if TYPE_CHECKING:
    from sealwright.trust.verify import Verifier  # start-up time: most surveys judge nothing

CHUNK = 128
BATCH = 512  # files
BATCHES_AT_LEAST = 32
ELSEWHERE = (b".asc", b".gpg", b".sig", b".sign", b".minisig")
_NUMBERED = re.compile(rb"(.+)\.[0-9]\.tsr\Z", re.DOTALL)


def survey(
    paths: Sequence[bytes], *, now: datetime, progress: Progress | None = None, verifier: Verifier | None = None
) -> Spool:
    """Look at every path and below; the caller closes what is returned. now: which certificate ends next is counted from here.

    What cannot be read is in the spool; OutputRefused only where that has no room. verifier: a believed trust file, for `Spool.rules`.
    """
    spool = Spool()
    try:
        with spooling(), Crew[Batch, list[Answer]](Worker(verifier, now.timestamp()), parts) as crew:
            for batch, answers in crew.answers(_batches(_chunks(paths, spool))):
                for at, chunk in enumerate(batch):
                    spool.add(chunk, answers[at] if answers is not None else None)
                    if progress is not None:
                        progress.advance(len(chunk.names))
            for (chunk,), answers in crew.answers((chunk,) for chunk in spool.later()):
                spool.add(chunk, answers[0] if answers is not None else None)
            spool.settle()
    except BaseException:
        spool.base.close()
        raise
    return spool


def _batches(chunks: Iterable[Chunk]) -> Iterator[Batch]:
    """Chunks for one worker at a time: single ones while few files were seen, because they may be large, then several folders'.

    A worker that looks at many files sorts the signed ones by their kind, so that the code for each stays in the processor's cache.
    """
    seen, waiting, names = 0, list[Chunk](), 0
    for chunk in chunks:
        seen += len(chunk.names)
        names += len(chunk.names)
        waiting.append(chunk)
        if names >= min(BATCH, seen // BATCHES_AT_LEAST):
            yield tuple(waiting)
            waiting, names = [], 0
    if waiting:
        yield tuple(waiting)


def _chunks(paths: Iterable[bytes], spool: Spool) -> Iterator[Chunk]:
    for path in _apart(paths):
        if not is_folder(path):
            folder, _, name = path.rpartition(b"/")
            above = folder or (b"/" if path.startswith(b"/") else b"")
            yield Chunk(b"", b"", above, (name,), beside=None)
            continue
        yield from _own_manifest(path)
        for found in walk(path):
            if isinstance(found, NotRead):
                spool.left(found)
            else:
                for one in _signed_elsewhere(found):
                    spool.left(one)
                yield from _of_folder(path, found, spool)


def _signed_elsewhere(listed: Listed) -> Iterator[NotRead]:
    """What looks like signatures of kinds that are not checked here; `.sig` may be IMA's, which are."""
    names = [name for name in listed.files if name.endswith(ELSEWHERE)]
    if not names:
        return
    known, texts = set(listed.files), _texts(listed)
    for name in names:
        ending = next(one for one in ELSEWHERE if name.endswith(one))
        path = os.path.join(listed.path, name)
        ours = ending == b".sig" and is_beside(os.fsdecode(listed.path), os.fsdecode(name), *texts)
        if name.removesuffix(ending) in known and not ours:
            yield NotRead(path, Left.ELSEWHERE)


def _texts(listed: Listed) -> tuple[set[str], set[str]]:
    return {os.fsdecode(name) for name in listed.files}, {os.fsdecode(name) for name in listed.folders}


def _apart(paths: Iterable[bytes]) -> list[bytes]:
    """The paths without those that are looked at with another one: what is named twice is no copy of itself."""
    places: dict[bytes, bytes] = {}
    for path in paths:
        places.setdefault(os.path.realpath(path), path)
    return [
        path for place, path in places.items() if not any(_holds(other, place) for other in places if other != place)
    ]


def _holds(folder: bytes, place: bytes) -> bool:
    """Whether a walk of one comes to the other."""
    inside = place.removeprefix(folder.rstrip(b"/") + b"/")
    if inside == place or inside.count(b"/") >= MAX_DEPTH - 1:
        return False
    with suppress(OSError):
        return os.lstat(folder).st_dev == os.lstat(place).st_dev
    return False


def _own_manifest(path: bytes) -> Iterator[Chunk]:
    """What was named is itself a folder with a manifest beside it."""
    above, _, name = path.rstrip(b"/").rpartition(b"/")
    if name and any(os.path.lexists(path.rstrip(b"/") + ending) for ending in _TREES):
        yield Chunk(b"", b"", above or (b"/" if path.startswith(b"/") else b""), (name,), trees=True)


_TREES = (os.fsencode(MANIFEST_SUFFIX), os.fsencode(RECEIVING_SUFFIX), os.fsencode(IMA_LIST_SUFFIX))


def _of_folder(root: bytes, listed: Listed, spool: Spool) -> Iterator[Chunk]:
    files = listed.files
    known = set(files)
    present = known.union(listed.folders) if known else known
    trees = [name for name in listed.folders if any(name + ending in known for ending in _TREES)]
    if trees:
        from sealwright.formats.statementnames import received_by  # start-up time: few folders have signed ones

        trees = [name for name in trees if not received_by(name, present)]
    for tree in sorted(trees):
        yield Chunk(root, listed.inside, listed.path, (tree,), trees=True)
    maybe = [name for name in files if name.endswith(ENDINGS_RAW)]
    bound = list(listed_here(listed, maybe, present))
    for one in bound:
        spool.belongs(one)
    if not maybe:
        for at in range(0, len(files), CHUNK):
            yield Chunk(root, listed.inside, listed.path, tuple(files[at : at + CHUNK]))
        return
    text, folders = _texts(listed)
    place = os.fsdecode(listed.path)
    beside = {name for name in maybe if is_beside(place, os.fsdecode(name), text, folders)}
    beside.difference_update(one.name for one in bound)
    beside |= officers_beside(listed, [name for name in maybe if name not in beside])
    for one in by_name(listed, beside, present):
        spool.belongs(one)
    owners = _owners(maybe, known)
    own = [name for name in files if name not in beside]
    for at in range(0, len(own), CHUNK):
        names = tuple(own[at : at + CHUNK])
        near = dict.fromkeys(one for name in names for one in owners.get(name, ()))
        yield Chunk(root, listed.inside, listed.path, names, beside=tuple(near))


def _owners(maybe: Sequence[bytes], files: set[bytes]) -> dict[bytes, list[bytes]]:
    """For each file the names in its folder that begin with its own and a dot, of those that may be signatures."""
    owners: dict[bytes, list[bytes]] = {}
    for name in maybe:
        at = name.find(b".")
        while at >= 0:
            if (owner := name[:at]) in files:
                owners.setdefault(owner, []).append(name)
                # `NAME.2.tsr` is the timestamp of `NAME.2`, where there is such a file
                if (numbered := _NUMBERED.match(name)) is not None and name[:-4] in files and numbered[1] == owner:
                    owners[owner].append(name[:-4])
            at = name.find(b".", at + 1)
    return owners
