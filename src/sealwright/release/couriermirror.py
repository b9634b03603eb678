"""A receiver's mirror of a repository: what a courier brought gets its names there, the timestamp last.

Targets have the names of their digests and are linked from the courier's copy. Metadata is what python-tuf's client verified, and not what
lay in the courier; one that is there already and differs is put right. A crash leaves the former view whole.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from sealwright.artifact.folders import sync_folder
from sealwright.artifact.output import FileRange, Output, Replace, write_batch
from sealwright.artifact.source import read_file

MAX_METADATA_BYTES = 64 << 20


class MirrorFiles(NamedTuple):
    """What of a repository goes into the mirror. stored: targets, by names below its folder; metadata: where it lies verified, by names."""

    stored: tuple[str, ...]
    metadata: Mapping[str, str]


def place(source: str, mirror: str, repository: MirrorFiles) -> None:
    """Give what was verified its names; OutputRefused, OSError.

    source: the repository in the courier, on its disk already: a name is never there before the bytes are.
    """
    if not repository.metadata:
        return
    folders = {mirror}
    for name in repository.stored:
        path, target = os.path.join(source, name), os.path.join(mirror, name)
        if _is_there(path, target):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        folders.add(os.path.dirname(target))
        beside = f"{target}.new"
        with suppress(FileNotFoundError):
            os.unlink(beside)
        try:
            os.link(path, beside)
            os.replace(beside, target)
        except OSError:  # a file system without links
            write_batch([Output(target, (FileRange(path, 0, os.path.getsize(path)),))], replace=Replace.YES)
    os.makedirs(os.path.join(mirror, "metadata"), exist_ok=True)
    *others, timestamp = (
        Output(os.path.join(mirror, "metadata", name), read_file(path, MAX_METADATA_BYTES))
        for name, path in repository.metadata.items()
    )
    write_batch([one for one in others if _differs(one)], replace=Replace.YES)
    for folder in folders:
        sync_folder(folder)
    write_batch([timestamp], replace=Replace.YES)


def _is_there(path: str, target: str) -> bool:
    """Whether the mirror has a target whole: its name says which bytes these are."""
    with suppress(FileNotFoundError):
        status = os.lstat(target)
        return stat.S_ISREG(status.st_mode) and status.st_size == os.path.getsize(path)
    return False


def _differs(output: Output) -> bool:
    return not os.path.isfile(output.path) or read_file(output.path, MAX_METADATA_BYTES) != output.data
