"""Which releases of a folder a key signed: what to ask the fleet for, before that key is denied (A155).

A release's manifest counts where a signature file beside it holds over its octets and is by the key. No trust is judged here: of a key that
was stolen one wants to know everything that it signed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms import MAX_BYTES, Profile, Signer, check_signer, read_envelope
from sealwright.envelope.kinds import MANIFEST
from sealwright.errors import LimitExceeded, SealwrightError, Unreadable
from sealwright.formats.sidecar import MANIFEST_SUFFIX, SUFFIXES

MAX_FILES = 200_000
MAX_MANIFEST_BYTES = 64 << 20


def manifests_signed_by(key: Digest, folder: str) -> list[Digest]:
    """SHA-256 of each manifest below a folder that the key (SHA-256 of SPKI) signed, sorted. Unreadable, LimitExceeded; links are not followed."""
    return sorted({digest for path in _manifests(folder) if (digest := _signed(path, key)) is not None}, key=str)


def _manifests(folder: str) -> Iterator[str]:
    def refuse(cause: OSError) -> None:
        raise Unreadable(
            cause.filename, f"it cannot be listed ({cause.strerror})", "Name a folder that can be read."
        ) from cause

    seen = 0
    for at, _, names in os.walk(folder, onerror=refuse):
        seen += len(names)
        if seen > MAX_FILES:
            raise LimitExceeded(folder, f"more than {MAX_FILES} files", "Name a smaller folder.")
        yield from (os.path.join(at, name) for name in sorted(names) if name.endswith(MANIFEST_SUFFIX))


def _signed(path: str, key: Digest) -> Digest | None:
    """The manifest's digest where the key signed it. A signature file that is none, or of another content, is no signature by the key."""
    files = [path + suffix for suffix in SUFFIXES.values() if os.path.isfile(path + suffix)]
    if not files:
        return None
    text = read_file(path, MAX_MANIFEST_BYTES)
    digests = {name: Digest.of(text, name) for name in HashName}
    return digests[HashName.SHA256] if any(_is_by(one, key, digests) for one in files) else None


def _is_by(path: str, key: Digest, digests: dict[HashName, Digest]) -> bool:
    try:
        for signer in read_envelope(read_file(path, MAX_BYTES), Profile.OURS, path).signers:
            if isinstance(signer, Signer) and key_digest(signer.key) == key:
                check_signer(signer, digests, MANIFEST.name, path)
                return True
    except SealwrightError:
        return False
    return False
