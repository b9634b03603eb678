"""A release copied into a private place before anything of it is believed: what is verified is then what is published (A150).

The tree is walked without following links, and of what lies beside it only the files are taken that belong to its manifest or to a
plant's acceptance of it.
"""

from __future__ import annotations

import os

from sealwright.artifact.source import open_artifact
from sealwright.artifact.walk import walk_tree
from sealwright.errors import ReleaseRefused, UsageError
from sealwright.formats.registry import plain_folder
from sealwright.release.layout import MANIFEST, PLANT

MAX_BESIDE = 64


def copied_release(path: str, place: str) -> str:
    """A release's folder, and what lies beside it, copied below `place`, which is new; the path of the copied folder.

    Raises what `walk_tree` raises, UsageError for what is no folder, ReleaseRefused for too many files beside it.
    """
    source = plain_folder(path)
    if not os.path.isdir(source):
        raise UsageError(path, "it is no folder", "Name the folder of a signed release.")
    base = os.path.basename(source)
    target = os.path.join(place, base)
    os.makedirs(target)
    walked = walk_tree(source)
    above = {os.path.dirname(name) for name in (*walked.files, *(one.name for one in walked.links))}
    for folder in above.union(walked.folders):
        os.makedirs(os.path.join(target, os.fsdecode(folder)), exist_ok=True)
    for name in map(os.fsdecode, walked.files):
        _copy(os.path.join(source, name), os.path.join(target, name))
    for link in walked.links:
        os.symlink(os.fsdecode(link.target), os.path.join(target, os.fsdecode(link.name)))
    for name in _beside(source):
        _copy(os.path.join(os.path.dirname(source) or ".", name), os.path.join(place, name))
    return target


def _beside(source: str) -> list[str]:
    """The names beside a release's folder that belong to its manifest or to the plant's acceptance of it."""
    base, folder = os.path.basename(source), os.path.dirname(source) or "."
    mine = [
        name
        for name in sorted(os.listdir(folder))
        if name == f"{base}{MANIFEST}" or name.startswith((f"{base}{MANIFEST}.", f"{base}{PLANT}"))
    ]
    if len(mine) > MAX_BESIDE:
        raise ReleaseRefused(source, f"more than {MAX_BESIDE} files lie beside it", "Remove what is no proof of it.")
    return mine


def _copy(source: str, target: str) -> None:
    with open_artifact(source) as opened:
        status = opened.status()
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if status.st_mode & 0o100 else 0o644)
        try:
            opened.copy_to(descriptor, 0, status.st_size)
        finally:
            os.close(descriptor)
