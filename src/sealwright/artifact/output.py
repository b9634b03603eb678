"""Outputs are whole or absent: written beside their target, synced, then given their name.

System calls relied on: open(O_CREAT|O_EXCL|O_NOFOLLOW) of a random name in the target's folder; write; syncfs (Linux, once
for each folder of a batch) or fsync of each file; link(2) for a new output, so that of two writers only one wins, or
rename(2) to replace; fsync of the folder. What remains: a crash leaves at most temporary files `.NAME.<hex>.tmp`, and
of a batch a prefix; in a batch each manifest comes before its signature, so that a prefix never verifies as signed.
Parts of other files are copied by the kernel (copy_file_range), whatever their size; an output may be checked before it is named.
Files that belong together (a manifest and its signature) are replaced as a `Pair`: the old ones keep the names `NAME.sealwright-old` until
the new ones are durable; `restore_pair` puts them back after a crash in between.
On file systems without hard links (FAT) a new output is checked for and then renamed; two writers could race there.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from sealwright.artifact.folders import sync_folder
from sealwright.artifact.interrupts import Interrupts
from sealwright.artifact.source import open_artifact
from sealwright.errors import ChangedWhileRead, OutputRefused, SealwrightError

DEFAULT_MODE = 0o644
PERMISSIONS = 0o777
OLD = ".sealwright-old"  # a plain `.old` could be somebody's own copy, and this one is put back or removed
_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
_WHY = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the medium is read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EFBIG: "the file would be too large",
    errno.ENOENT: "the folder does not exist",
}


class Replace(Enum):
    """What happens to an output that exists: NO refuses, YES replaces it, keeping it until the new one is durable.

    OFFERED refuses too, and names the option --replace, which only some commands have.
    """

    NO = auto()
    OFFERED = auto()
    YES = auto()


class FileRange(NamedTuple):
    """The bytes start <= i < start + size of another file."""

    path: str
    start: int
    size: int


class Made(NamedTuple):
    """Bytes that are made only while they are written, in blocks; it is called once for each time they are."""

    blocks: Callable[[], Iterator[bytes]]


Parts = tuple[bytes | FileRange | Made, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """One file to be written. data: its bytes, or its parts in order; mode: permission bits.

    check: is given the temporary file before it gets its name, and raises where it must not.
    """

    path: str
    data: bytes | Parts
    mode: int = DEFAULT_MODE
    check: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Outputs that mean something only together, in the order in which they get their names; the signature is the last, or alone."""

    outputs: tuple[Output, ...]


def refuse_itself(path: str, target: str) -> None:
    """OutputRefused where a file would be written over itself, whatever name it has there."""
    with suppress(OSError):  # what cannot be looked at is refused when it is written
        if os.path.samefile(path, target):
            raise OutputRefused(path, "it would be written over", "Name another file or folder with --out.")


def refuse_taken(path: str, replace: Replace) -> None:
    """OutputRefused where a file cannot be written because of what is there."""
    if os.path.islink(path):
        raise OutputRefused(path, "it is a symbolic link", "Remove the link, or name another folder with --out.")
    if os.path.isdir(path):
        raise OutputRefused(path, "it is a folder", "Name another folder with --out.")
    if os.path.lexists(path):
        if replace is not Replace.YES:
            raise _exists(path, replace)
        if not os.path.isfile(path):
            raise OutputRefused(path, "it is a device, socket or FIFO", "Name a file, or another folder, with --out.")


def permissions_of(path: str) -> int:
    """The permission bits that a file made of another one gets: never setuid or setgid. Raises what `open_artifact` raises."""
    with open_artifact(path) as source:
        return source.status().st_mode & PERMISSIONS


def write_atomic(path: str, data: bytes, *, replace: Replace = Replace.NO, mode: int = DEFAULT_MODE) -> None:
    """Write one output; OutputRefused if it cannot be made durable, and then nothing has changed."""
    write_batch([Output(path, data, mode)], replace=replace)


def restore_pair(paths: Sequence[str]) -> bool:
    """After a crash while a pair was replaced: the old files back in their places. False where there was nothing to do.

    paths: of the pair, the signature last. The old files count while the first and the last of them are there; a single one
    is what a finished replacement had yet to remove. OutputRefused if the folder cannot be written.
    """
    kept = [path for path in paths if os.path.lexists(path + OLD)]
    if not kept:
        return False
    whole = os.path.lexists(paths[-1] + OLD) and len(kept) > 1
    try:
        for path in kept:
            if whole:
                os.replace(path + OLD, path)
            # rename(2) leaves two names of one file as they are
            with suppress(FileNotFoundError):
                os.unlink(path + OLD)
    except OSError as cause:
        raise _refused(kept[0], cause) from cause
    for folder in {os.path.dirname(path) or "." for path in kept}:
        _sync_folder(folder)
    return whole


def replace_pairs(pairs: Sequence[Pair]) -> list[SealwrightError | None]:
    """Replace pairs with one sync for all. A crash at any instruction leaves each pair old, new, or to `restore_pair`.

    For each pair None, or why it was left as it was (`write_pairs`). Raises OutputRefused; the old files are then where they
    were. Ctrl-C waits until all is done.
    """
    interrupts = Interrupts()
    interrupts.hold()
    try:
        return _replace(pairs)
    finally:
        interrupts.release()


def _replace(pairs: Sequence[Pair]) -> list[SealwrightError | None]:
    every = [output for pair in pairs for output in pair.outputs]
    kept = [output.path for output in every if os.path.lexists(output.path)]
    for output in every:
        refuse_taken(output.path, Replace.YES)
    try:
        for path in kept:
            with suppress(FileNotFoundError):
                os.unlink(path + OLD)
            _keep(path)
    except OSError as cause:
        raise _refused(path, cause) from cause
    try:
        answers = write_pairs(pairs, replace=Replace.YES)
    except OutputRefused:
        _restore(pairs)
        raise
    _restore([pair for pair, refused in zip(pairs, answers, strict=True) if refused is not None])
    # the signature's old file goes first: what is left of a pair then never looks like a whole old one
    for pair in pairs:
        for output in reversed(pair.outputs):
            with suppress(OSError):
                os.unlink(output.path + OLD)
    return answers


def _restore(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        with suppress(OutputRefused):  # the first reason is the one to tell; the next signing restores it
            restore_pair([output.path for output in pair.outputs])


def write_batch(outputs: Sequence[Output], *, replace: Replace = Replace.NO) -> None:
    """Write all outputs with one sync for all, or none where one is refused by its check or cannot be copied; as `write_pairs` does."""
    for refused in write_pairs([Pair(tuple(outputs))], replace=replace):
        if refused is not None:
            raise refused


def write_pairs(pairs: Sequence[Pair], *, replace: Replace = Replace.NO) -> list[SealwrightError | None]:
    """Write outputs with one sync for all; named in the order given. For each pair None, or why nothing of it was written.

    That is what its outputs' checks raised, or that a file of which they hold parts is not what it was: the others go on.
    Raises OutputRefused naming the output. Before the first has its name nothing has changed; a failure after that names
    the output that is missing, and those before it are durable. Ctrl-C stops the writing and leaves nothing of it; it waits
    while the outputs get their names.
    """
    temporary: list[str] = []
    written: list[tuple[str, Output]] = []
    answers: list[SealwrightError | None] = []
    interrupts = Interrupts()
    try:
        for pair in pairs:
            made: list[tuple[str, Output]] = []
            try:
                for output in pair.outputs:
                    refuse_taken(output.path, replace)
                    temporary.append(_temporary_name(output))
                    _write_temporary(temporary[-1], output)
                    made.append((temporary[-1], output))
            except OutputRefused:
                raise
            except SealwrightError as cause:
                answers.append(cause)
            else:
                answers.append(None)
                written += made
        folders = list(dict.fromkeys(os.path.dirname(output.path) or "." for _, output in written))
        _sync(written, folders)
        interrupts.hold()
        for name, output in written:
            _give_name(name, output.path, replace)
        for folder in folders:
            _sync_folder(folder)
        return answers
    finally:
        interrupts.hold()
        for name in temporary:
            with suppress(OSError):
                os.unlink(name)
        interrupts.release()


def _keep(path: str) -> None:
    """The file under a second name, which costs nothing; a copy where the file system has no hard links."""
    try:
        os.link(path, path + OLD, follow_symlinks=False)
    except (OSError, NotImplementedError) as cause:
        if isinstance(cause, OSError) and cause.errno not in _NO_LINKS:
            raise
        import shutil  # only on FAT and its kin

        shutil.copy2(path, path + OLD)


def _temporary_name(output: Output) -> str:
    folder = os.path.dirname(output.path) or "."
    return os.path.join(folder, f".{os.path.basename(output.path)[:50]}.{secrets.token_hex(6)}.tmp")


def _write_temporary(name: str, output: Output) -> None:
    try:
        descriptor = os.open(name, _FLAGS, output.mode)
    except OSError as cause:
        raise _refused(output.path, cause) from cause
    try:
        for part in (output.data,) if isinstance(output.data, bytes) else output.data:
            if isinstance(part, FileRange):
                _copy(part, descriptor)
                continue
            for block in part.blocks() if isinstance(part, Made) else (part,):
                view = memoryview(block)
                while view:
                    view = view[os.write(descriptor, view) :]
        if output.check is not None and sys.platform == "linux":
            # the kernel begins to write it out, so that the sync behind the check finds most of it done
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as cause:
        raise _refused(output.path, cause) from cause
    finally:
        os.close(descriptor)
    if output.check is not None:
        output.check(name)


def _copy(part: FileRange, descriptor: int) -> None:
    """OSError where the output cannot be written; Unreadable or ChangedWhileRead where the other file is not what it was."""
    with open_artifact(part.path) as source:
        if source.copy_to(descriptor, part.start, part.size) != part.size:
            raise ChangedWhileRead(part.path, "it became shorter while it was copied", "Try again.")


def _sync(written: list[tuple[str, Output]], folders: list[str]) -> None:
    """All data on disk: one syncfs for each folder where that is cheaper, else one fsync for each file."""
    if len(written) > 4 * len(folders) and _syncfs() is not None:
        for folder in folders:
            try:
                sync_file_system(folder)
            except OSError as cause:
                raise _refused(folder, cause) from cause
        return
    for name, output in written:
        try:
            descriptor = os.open(name, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as cause:
            raise _refused(output.path, cause) from cause


def sync_file_system(folder: str) -> bool:
    """Everything that was written to the file system of a folder is on its disk; False where this system can only sync file by file.

    OSError where it cannot be.
    """
    if _syncfs() is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        return sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def sync_descriptor(descriptor: int) -> bool:
    """The same for the file system of an open file or folder."""
    syncfs = _syncfs()
    if syncfs is None:
        return False
    if syncfs(descriptor) != 0:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return True


def _give_name(name: str, path: str, replace: Replace) -> None:
    try:
        if replace is Replace.YES:
            os.replace(name, path)
            return
        try:
            os.link(name, path, follow_symlinks=False)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError) as cause:
            if isinstance(cause, OSError) and cause.errno not in _NO_LINKS:
                raise
            if os.path.lexists(path):
                raise _exists(path, replace) from cause
            os.rename(name, path)
    except FileExistsError as cause:
        raise _exists(path, replace) from cause
    except OSError as cause:
        raise _refused(path, cause) from cause


def _sync_folder(folder: str) -> None:
    try:
        sync_folder(folder)
    except OSError as cause:
        raise _refused(folder, cause) from cause


def _syncfs() -> Callable[[int], int] | None:
    """The C library's syncfs, or None."""
    import ctypes  # start-up time; only batches need it

    try:
        call: Callable[[int], int] = ctypes.CDLL(None, use_errno=True).syncfs
        return call
    except (OSError, AttributeError, TypeError):
        return None


def _exists(path: str, replace: Replace) -> OutputRefused:
    way = "use --replace" if replace is Replace.OFFERED else "name another file"
    return OutputRefused(path, "it is already there", f"Remove it, or {way}.")


def _refused(path: str, cause: OSError) -> OutputRefused:
    why = _WHY.get(cause.errno or 0) or cause.strerror or "it cannot be written"
    step = "make it" if cause.errno == errno.ENOENT else "make room"
    return OutputRefused(path, why, f"Nothing was changed; {step}, or name another folder with --out.")
