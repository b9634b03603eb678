"""Where uploaded files lie while the service prepares them: bounded in size, together and at once, and gone afterwards (A128).

    spool = Spool.open(Uploading("/var/lib/sealwright/spool", largest_bytes, together_bytes))
    async with spool.room("p7", size_bytes) as folder:
        digest = await received(stream, folder + "/drive.bin", size_bytes)

The folder is of one service alone, which takes away at its start what a killed one left. `AT_ONCE` files are received at once, one of
each person; who else comes waits, and is cut where the whole request takes too long (`connections.py`). The size is said before, and kept
from `together_bytes`; a body without a length, compressed or of another length is refused.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.section import Section
from sealwright.errors import LimitExceeded, RequestRefused, SpoolFull, Unreadable, UsageError
from sealwright.service.shutin import landlock_version

AT_ONCE = 4
BLOCK = 1 << 20
PREFIX = "upload-"
MIB = 1 << 20
_AGAIN = "Upload it again in a moment."
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


@dataclass(frozen=True, slots=True)
class Uploading:
    """`[upload]` of service.toml. spool: a folder; largest_bytes: of a file; together_bytes: of all that lie there."""

    spool: str
    largest_bytes: int
    together_bytes: int


def read_uploading(top: Section, folder: str) -> Uploading | None:
    """Read it from the top of the file; None where it is not there. folder: to which paths are relative. Raises MalformedConfiguration."""
    if not top.has("upload"):
        return None
    section = top.table("upload")
    largest = section.number("largest_mib", 1, 4096)
    together = section.number("together_mib", 1, 2 * largest)
    spool = os.path.join(folder, section.text("spool"))
    section.done()
    if together < largest:
        raise section.wrong("together_mib", f"at least {largest}, as large as one file may be")
    return Uploading(spool, largest * MIB, together * MIB)


class Spool:
    """The folder of one service, of one event loop. To be closed."""

    def __init__(self, uploading: Uploading, lock: int) -> None:
        self.uploading = uploading
        self._lock = lock
        self._places = asyncio.Semaphore(AT_ONCE)
        self._persons: dict[str, tuple[asyncio.Lock, int]] = {}  # with how many hold or want it
        self._left = uploading.together_bytes

    @classmethod
    def open(cls, uploading: Uploading) -> Spool:
        """Take the folder, made where it is not there, and take away what is left in it.

        UsageError where another service has it, or what is uploaded could not be prepared shut in.
        """
        import fcntl  # not on every system

        _check_shutting_in()
        try:
            os.makedirs(uploading.spool, 0o700, exist_ok=True)
            lock = os.open(uploading.spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as cause:
            raise Unreadable(
                uploading.spool, f"it is no folder for files ({cause.strerror})", "Name another."
            ) from cause
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            os.close(lock)
            raise UsageError(
                uploading.spool, "another service has this spool", "Give each service a `spool` of its own."
            ) from cause
        for name in os.listdir(uploading.spool):
            if name.startswith(PREFIX):
                shutil.rmtree(os.path.join(uploading.spool, name), ignore_errors=True)
        return cls(uploading, lock)

    def close(self) -> None:
        """Let another one have it."""
        os.close(self._lock)

    @asynccontextmanager
    async def room(self, person: str, size_bytes: int) -> AsyncIterator[str]:
        """A new folder for one file of that size, gone at the end. LimitExceeded, SpoolFull."""
        if size_bytes > self.uploading.largest_bytes:
            what = f"{size_bytes} bytes, and at most {self.uploading.largest_bytes} are taken"
            raise LimitExceeded("upload", what, "Have somebody prepare it at their place: sealwright confirm")
        async with self._turn(person), self._places:
            if size_bytes > self._left:
                raise SpoolFull("spool", "other files fill it", _AGAIN)
            self._left -= size_bytes
            try:
                folder = tempfile.mkdtemp(prefix=PREFIX, dir=self.uploading.spool)
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
            except OSError as cause:
                if cause.errno not in _FULL:
                    raise
                raise SpoolFull("spool", "its disk is full", _AGAIN) from cause
            finally:
                self._left += size_bytes

    @asynccontextmanager
    async def _turn(self, person: str) -> AsyncIterator[None]:
        lock, waiting = self._persons.get(person, (asyncio.Lock(), 0))
        self._persons[person] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._persons.pop(person)
            if waiting > 1:
                self._persons[person] = lock, waiting - 1


def _check_shutting_in() -> None:
    try:
        landlock_version()
    except OSError as cause:
        raise UsageError(
            "[upload]",
            f"what prepares files is shut in by Landlock, which a filter of system calls refuses ({cause.strerror})",
            "Allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self, as in deploy/sealwright-signing.service.",
        ) from cause


async def received(stream: AsyncIterator[bytes], path: str, size_bytes: int) -> Digest:
    """Write a body into a new file; its SHA-256. RequestRefused where it is shorter or longer than was said."""
    with open(path, "xb", buffering=0) as file:
        os.chmod(path, 0o600)
        hasher = hashlib.sha256()
        got, block = 0, bytearray()
        async for part in stream:
            got += len(part)
            if got > size_bytes:
                break
            block += part
            if len(block) >= BLOCK:
                await asyncio.to_thread(_put, file, hasher, bytes(block))
                block.clear()
        await asyncio.to_thread(_put, file, hasher, bytes(block))
    if got != size_bytes:
        raise RequestRefused("upload", f"{got} bytes came of {size_bytes}", _AGAIN)
    return Digest(HashName.SHA256, hasher.digest())


def _put(file: BinaryIO, hasher: hashlib._Hash, block: bytes) -> None:
    hasher.update(block)
    left = memoryview(block)
    while left:  # a raw file may take less
        left = left[file.write(left) :]
