"""Which files of a home belong into its backup: those that are known, and no private keys (`backup.py` packs them)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sealwright.artifact.source import read_file_or_none
from sealwright.log.ends import NAMES
from sealwright.log.journal import LOCKED
from sealwright.signing.home import (
    ANCHORS,
    CEREMONY,
    FILE,
    JOURNAL,
    PRIVATE,
    TRUST,
)
from sealwright.trust.belief import CRL_FOLDER, DENY
from sealwright.trust.history import HISTORY

LOSSES = "loss"
MAX_SMALL_BYTES = 64 << 20
MAX_NAME_BYTES = 240
_PLAIN = re.compile(r"[^\x00-\x1f\x7f/\\]+")
_ROOT = re.compile(rf"{re.escape(FILE)}|{re.escape(ANCHORS)}|({re.escape(TRUST)}|{re.escape(DENY)})(\..+\.p7s)?")
_ENTRIES = re.compile(r"journal(\.[0-9]+)?\.jsonl|journal\.torn")
_KEYS = "keys"
# a folder of the home -> which of its files; what may lie below it
_FOLDERS = {
    "certificates": re.compile(r".+\.pem"),
    CRL_FOLDER: re.compile(r".+"),
    HISTORY: re.compile(r".+"),
    CEREMONY: re.compile(
        r"(plan|transcript)\.txt|cross-sign\..+\.pem|attendance\.[0-9]+\.p7s|transcript\.txt\..+\.p7s"
    ),
    PRIVATE: re.compile(r"[0-9a-f]{64}\.json"),
    "pending": re.compile(r"[0-9a-f]{64}\.json"),
    LOSSES: re.compile(r"[0-9]+\.toml(\..+\.p7s)?"),
    f"{LOSSES}/{JOURNAL}": _ENTRIES,
    **dict.fromkeys(NAMES, _ENTRIES),
}


_SILENT = re.compile(r"(journal|register|timestamps|loss/journal)/journal\.lock|pending/\.lock|\..*\.tmp|locked")
_SECRET = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")


@dataclass(slots=True)
class Collected:
    """small: the files that are read whole, by name below the home; left_out: names of those that do not come along."""

    small: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def collect(folder: str, with_development_keys: bool) -> Collected:
    """The small files, read; the journals' own files are not among them."""
    found = Collected()
    for name, path, plain in sorted(_walk(folder, "")):
        if _SILENT.fullmatch(name) or _SILENT.fullmatch(os.path.basename(name)):
            continue
        own, base = os.path.split(name)
        if own in NAMES and plain and is_entries(base):
            continue
        key = own == _KEYS and with_development_keys and base.endswith(".pem")
        wanted = _FOLDERS[own].fullmatch(base) if own in _FOLDERS else _ROOT.fullmatch(base) if not own else None
        if not plain or not (key or wanted) or not is_plain(name):
            found.left_out.append(name)
            continue
        data = read_file_or_none(path, MAX_SMALL_BYTES)
        if data is None:
            continue  # a pending signature that was stamped meanwhile
        if not key and _SECRET.search(data):
            found.left_out.append(name)
            continue
        found.small[name] = data
    return found


def is_entries(base: str) -> bool:
    """Whether a file's name is that of a journal's entries."""
    return base.endswith(".jsonl")


def _walk(folder: str, below: str) -> Iterator[tuple[str, str, bool]]:
    """Every file: name below the home, path, whether it is a regular file. Folders that are not known stand for themselves."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if name in _FOLDERS or name == _KEYS:
                    yield from _walk(entry.path, f"{name}/")
                elif not _SILENT.fullmatch(entry.name):
                    yield f"{name}/", entry.path, False
                continue
            yield name, entry.path, entry.is_file(follow_symlinks=False)


def is_plain(name: str) -> bool:
    """Whether a name below the home can stand in a backup."""
    parts = name.split("/")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return size <= MAX_NAME_BYTES and all(_PLAIN.fullmatch(one) and one not in (".", "..") for one in parts)


def is_known(name: str) -> bool:
    """Whether a file belongs into a home's backup at all."""
    own, base = os.path.split(name)
    if name == LOCKED:
        return True
    if own == _KEYS:
        return base.endswith(".pem")
    return bool(_FOLDERS[own].fullmatch(base) if own in _FOLDERS else not own and _ROOT.fullmatch(base))
