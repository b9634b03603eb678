"""A folder of policies as bytes: which files count, how much is read, and the digest by which log entries name them.

1. `*.cedar` are rules, one `*.toml` holds the settings. `*.md`, `*.csv`, names that begin with a dot and the folder `tests` are left
   alone. Anything else is refused: `freeze.cedar.txt` would be a rule that everybody believes in and nobody reads.
2. Names are plain, files regular and not larger than said here, links lead to files in the same folder.
3. The digest is SHA-256 over a first line and, by name, the line that `sha256sum` prints for each file:

    (echo "# sealwright policy 1"; cd FOLDER && LC_ALL=C sha256sum *.cedar *.toml | LC_ALL=C sort -k 2) | sha256sum

The first line is also the version of the rules that Sealwright adds by itself (`policyrules.BUILT_IN`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file, unreadable
from sealwright.errors import MalformedPolicy

FIRST_LINE = "# sealwright policy 1"
RULES = ".cedar"
SETTINGS = ".toml"
TESTS = "tests"
MAX_FILES = 200
MAX_FILE_BYTES = 256 * 1024
MAX_FOLDER_BYTES = 2 << 20
_LEFT_ALONE = (".md", ".csv")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One file. name: in its folder; data: as it was read, once."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class PolicyFolder:
    """What was read. path: as it was named; files: by name."""

    path: str
    files: tuple[PolicyFile, ...]

    @property
    def digest(self) -> Digest:
        """Which policies these are."""
        return digest_of(self.files)

    def shown(self, name: str) -> str:
        """The path of one file, for messages."""
        return os.path.join(self.path, name)


def digest_of(files: Sequence[PolicyFile]) -> Digest:
    """The digest of a set of files, whatever their order. Source: this module's docstring, 3."""
    lines = sorted((file.name.encode(), Digest.of(file.data).value.hex()) for file in files)
    text = FIRST_LINE.encode() + b"\n" + b"".join(value.encode() + b"  " + name + b"\n" for name, value in lines)
    return Digest.of(text)


def read_folder(path: str) -> PolicyFolder:
    """Every file that counts. MalformedPolicy, Unreadable or LimitExceeded naming the file, and none is used."""
    try:
        names = sorted(os.listdir(path))
    except (OSError, ValueError) as cause:
        raise unreadable(path, cause) from cause
    counted = [name for name in names if _counts(path, name)]
    if len(counted) > MAX_FILES:
        raise MalformedPolicy(path, f"it holds {len(counted)} files", f"At most {MAX_FILES} are read; join some.")
    if not any(name.endswith(RULES) for name in counted):
        raise MalformedPolicy(
            path, "no file in it ends with `.cedar`, and without rules nothing is allowed", "Check the folder's name."
        )
    settings = [name for name in counted if name.endswith(SETTINGS)]
    if len(settings) > 1:
        raise MalformedPolicy(
            path, f"it has two files of settings, {settings[0]} and {settings[1]}", "Put all settings into one."
        )
    files, left = [], MAX_FOLDER_BYTES
    for name in counted:
        files.append(PolicyFile(name, read_file(_inside(path, name), min(left, MAX_FILE_BYTES))))
        left -= len(files[-1].data)
    return PolicyFolder(path, tuple(files))


def _counts(path: str, name: str) -> bool:
    full = os.path.join(path, name)
    if name.startswith(".") or (name == TESTS and os.path.isdir(full)) or name.endswith(_LEFT_ALONE):
        return False
    if not name.endswith((RULES, SETTINGS)):
        raise MalformedPolicy(
            path,
            f"{display(name)} is neither rules (`.cedar`) nor settings (`.toml`)",
            "Rename it or take it out: a rule that is not read protects nothing.",
        )
    if not _NAME.fullmatch(name):
        raise MalformedPolicy(
            path, f"the name {display(name)} is not plain", "Use letters, digits, hyphens, dots and underscores."
        )
    return True


def _inside(path: str, name: str) -> str:
    """The file's path; a link may lead within the folder only, as those of Kubernetes' volumes do."""
    full = os.path.join(path, name)
    if os.path.islink(full):
        folder, target = os.path.realpath(path), os.path.realpath(full)
        if os.path.commonpath((folder, target)) != folder:
            raise MalformedPolicy(full, "it is a link that leads out of the folder", "Put the file itself there.")
        return target
    return full
