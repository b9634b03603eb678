"""What proves how a file was received: mails, pages, tool outputs, lists, old signatures, copied into `NAME.received/` (bounded, safe names).

The folder gets its name whole, by one rename(2) of a folder beside it whose files and entries were synced. What a crash before that leaves
is `.NAME.received.<hex>.tmp`; a crash behind it leaves the folder without a record, and the next receiving with the same evidence goes on with it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import sync_folder
from sealwright.artifact.interrupts import Interrupts
from sealwright.artifact.names import check_members, display
from sealwright.artifact.output import Output, write_batch
from sealwright.artifact.receiving import Evidence
from sealwright.artifact.source import read_file, unreadable
from sealwright.errors import LimitExceeded, OutputRefused, ReceivingRefused

MAX_EVIDENCE = 100
MAX_FILE_BYTES = 32 << 20
MAX_BYTES = 128 << 20
_PARTS = os.sep + (os.altsep or "")


# a word for what a file is, by the end of its name
_KINDS = {
    "eml": "mail", "msg": "mail", "mbox": "mail", "htm": "web-page", "html": "web-page", "mhtml": "web-page", "pdf": "document",
    "png": "picture", "jpg": "picture", "jpeg": "picture", "txt": "text", "log": "text", "json": "text",
}  # fmt: skip


class Kept(NamedTuple):
    """One file of the folder. kind: a word (`mail`, `signature`, …); name: its last part."""

    kind: str
    name: str
    data: bytes

    @property
    def noted(self) -> Evidence:
        """As the record names it."""
        return Evidence(self.kind, os.fsencode(self.name), Digest.of(self.data).value, len(self.data))


def read_evidence(paths: Iterable[str]) -> list[Kept]:
    """The files named. Raises LimitExceeded above 100 files, 32 MiB each and 128 MiB together, or what reading raises."""
    found: list[Kept] = []
    total = 0
    for path in paths:
        data = read_file(path, MAX_FILE_BYTES)
        total += len(data)
        if len(found) == MAX_EVIDENCE or total > MAX_BYTES:
            raise LimitExceeded(
                path, f"more than {MAX_EVIDENCE} files or {MAX_BYTES} bytes of evidence", "Keep what proves something."
            )
        if not data:
            raise ReceivingRefused(path, "it is empty, and proves nothing", "Name the file that has something in it.")
        name = os.path.basename(path)
        found.append(Kept(_KINDS.get(name.rpartition(".")[2].lower(), "file"), name, data))
    return found


def put_together(*groups: Iterable[Kept]) -> tuple[Kept, ...]:
    """All of it, sorted by name; the same file named twice is one. ReceivingRefused or MalformedArtifact for names that cannot lie in one folder."""
    found: dict[str, Kept] = {}
    for one in (one for group in groups for one in group):
        if found.setdefault(one.name, one).data != one.data:
            raise ReceivingRefused(
                one.name, "two different files of evidence have this name", "Rename one of them and name it again."
            )
    check_members(b"", [os.fsencode(name) for name in found], "--evidence")
    return tuple(found[name] for name in sorted(found, key=os.fsencode))


def write_evidence(folder: str, evidence: Sequence[Kept]) -> bool:
    """Make the folder, durable; whether it is new. OutputRefused where something else has its name, and then nothing has changed."""
    check_free(folder, evidence)
    if os.path.lexists(folder):
        return False
    parent, name = os.path.split(folder.rstrip(_PARTS))
    temporary = os.path.join(parent, f".{name[:50]}.{secrets.token_hex(6)}.tmp")
    interrupts = Interrupts()
    try:
        try:
            os.mkdir(temporary, 0o755)
        except OSError as cause:
            raise OutputRefused(folder, cause.strerror or "it cannot be made", "Check who may write there.") from cause
        write_batch([Output(os.path.join(temporary, one.name), one.data) for one in evidence])
        interrupts.hold()
        try:
            if os.path.lexists(folder):
                raise OutputRefused(folder, "it is already there", "Somebody else receives the same file just now.")
            os.rename(temporary, folder)
        except OSError as cause:
            raise OutputRefused(folder, cause.strerror or "it cannot be named", "Check who may write there.") from cause
        sync_folder(parent or ".")
    finally:
        interrupts.hold()
        shutil.rmtree(temporary, ignore_errors=True)
        interrupts.release()
    return True


def take_back(folder: str, evidence: Sequence[Kept]) -> None:
    """Remove a folder that `write_evidence` made just now, and nothing that is not its."""
    for one in evidence:
        try:
            os.unlink(os.path.join(folder, one.name))
        except FileNotFoundError:
            continue
    try:
        os.rmdir(folder)
    except OSError as cause:
        raise unreadable(folder, cause) from cause


def check_free(folder: str, evidence: Sequence[Kept]) -> None:
    """OutputRefused for a folder that is there already, unless a receiving with the same evidence left it when it was interrupted."""
    if not os.path.lexists(folder):
        return
    whole = False
    if os.path.isdir(folder) and not os.path.islink(folder):
        try:
            names = sorted(os.listdir(folder), key=os.fsencode)
        except OSError as cause:
            raise unreadable(folder, cause) from cause
        whole = names == [one.name for one in evidence] and all(
            read_file(os.path.join(folder, one.name), MAX_FILE_BYTES) == one.data for one in evidence
        )
    if not whole:
        raise OutputRefused(
            folder,
            "it is already there, and is not this evidence",
            f"Look at it; where it is what an interrupted receiving left, remove it: rm -r {display(folder)}",
        )
