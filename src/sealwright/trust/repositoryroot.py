"""The first root of a release repository, as a trust file names it: `tuf_root`, the SHA-256 of its `1.root.json`.

Only the first root is named, for a client follows the later ones from it (TUF specification 5.3). Nothing is believed here and no signature is
judged: people compare the digest over another channel, and whoever fetches verifies from there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import read_file
from sealwright.errors import UsageError

MAX_ROOT_BYTES = 512 << 10
_NEXT = "Name the file 1.root.json of the repository's folder `metadata`."


@dataclass(frozen=True, slots=True)
class FirstRoot:
    """A first root. keys: how many may sign the next one; threshold: how many of them must."""

    digest: Digest
    keys: int
    threshold: int


def read_first_root(path: str) -> FirstRoot:
    """Read `1.root.json`; UsageError for a file that is none, or a later root."""
    data = read_file(path, MAX_ROOT_BYTES)
    try:
        signed = json.loads(data)["signed"]
        kind, version, role = signed["_type"], signed["version"], signed["roles"]["root"]
        keys, threshold = len(set(role["keyids"])), int(role["threshold"])
    except (ValueError, KeyError, TypeError, RecursionError) as cause:
        raise UsageError(path, "it is no root of a repository", _NEXT) from cause
    if kind != "root":
        raise UsageError(path, "it is metadata of a repository, but no root", _NEXT)
    if version != 1:
        raise UsageError(path, f"it is root version {version}, and a trust file names the first one", _NEXT)
    return FirstRoot(Digest.of(data), keys, threshold)


def root_digest(text: str) -> Digest:
    """A digest as somebody typed it; UsageError for what is none by SHA-256."""
    try:
        digest = Digest.parse(text)
        if digest.algorithm is not HashName.SHA256:
            raise ValueError(digest.algorithm)
    except ValueError as cause:
        raise UsageError(text[:80], "it is no SHA-256 digest", "Write sha256: and 64 hexadecimal digits.") from cause
    return digest
