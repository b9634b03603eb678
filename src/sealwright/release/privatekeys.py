"""Private keys in a release's folder (A167): they are what is delivered by mistake, and what nobody can take back.

Found are keys in PEM, OpenSSH and PuTTY form anywhere in a file, DER keys in small files, and files that are key stores by name.
A key in a packed file, an image or an encrypted blob is not found; a test key that belongs there is let through by its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key

from sealwright.artifact.names import display
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.artifact.walk import walk_tree
from sealwright.errors import ReleaseRefused

STORES = (".p12", ".pfx", ".jks", ".keystore", ".ppk", ".key")
MAX_DER_BYTES = 16 << 10
_MARK = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----|openssh-key-v1\0|PuTTY-User-Key-File-[0-9]"
)
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class KeyFound:
    """A file that holds a private key, or is named like one. name: in the release's folder."""

    name: str
    what: str


def refuse_private_keys(folder: str, allowed: Collection[str], progress: Progress | None = None) -> None:
    """ReleaseRefused naming the first file with a private key, unless its name is among those allowed."""
    found = next((one for one in private_keys(folder, progress) if one.name not in allowed), None)
    if found is not None:
        raise ReleaseRefused(
            f"{folder}/{found.name}",
            f"{found.what}: whoever gets the release would have it",
            f"Take it out; where it must be there: --allow '{found.name}=WHY'.",
        )


def private_keys(folder: str, progress: Progress | None = None) -> Iterator[KeyFound]:
    """Each file of a tree that holds one, in order of names. Raises what reading raises."""
    for name in walk_tree(folder).files:
        shown = display(name)
        with open_artifact(os.path.join(folder, os.fsdecode(name))) as source:
            if _holds_mark(source, progress):
                yield KeyFound(shown, "a private key stands in it")
            elif _is_der_key(source):
                yield KeyFound(shown, "it is a private key in DER")
            elif shown.lower().endswith(STORES):
                yield KeyFound(shown, "it is a key store by its name")


def _holds_mark(source: OpenArtifact, progress: Progress | None) -> bool:
    behind = b""
    for block in source.blocks([(0, source.status().st_size)], progress):
        data = behind + bytes(block)
        if _MARK.search(data):
            return True
        behind = data[-_LONGEST:]
    return False


def _is_der_key(source: OpenArtifact) -> bool:
    if source.status().st_size > MAX_DER_BYTES or source.read_at(0, 1) != b"\x30":
        return False
    try:
        load_der_private_key(source.read(MAX_DER_BYTES), None)
    except TypeError:  # it is one, under a passphrase
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True
