"""What a release changes against the one that the plant accepted before it: claims and files, from the two manifests.

    before = accepted_before("releases/1.4.2")             the newest accepted one beside it, of the same product
    compared(manifest_of(before), manifest_of("releases/1.4.2"))

A release counts as accepted where the plant's statement lies beside it; whether that statement holds, `verify` says. What is shown here is
for whoever decides, and decides nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sealwright.artifact.digest import Digest
from sealwright.artifact.manifest import Manifest
from sealwright.artifact.names import display
from sealwright.errors import SealwrightError
from sealwright.formats.manifest import read_listed
from sealwright.formats.registry import plain_folder
from sealwright.formats.sidecar import ACCEPTANCE_SUFFIX, MANIFEST_SUFFIX
from sealwright.signing.changes import Change, ClaimChange, FileChange, FileState

MAX_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True)
class Differences:
    """claims: those that differ; files: in order of their names; same: how many did not change; back: why it is older, "" where it is not."""

    claims: tuple[ClaimChange, ...]
    files: tuple[FileChange, ...]
    same: int
    back: str


def manifest_of(folder: str) -> Manifest:
    """The manifest beside a release's folder, unchecked. Raises Unreadable, MalformedArtifact."""
    return read_listed(plain_folder(folder) + MANIFEST_SUFFIX)[0]


def accepted_before(folder: str) -> str | None:
    """Of the accepted releases of the same product that lie beside a folder, the one with the highest generation; None for none."""
    path = plain_folder(folder)
    product, above = manifest_of(path).claims.product, os.path.dirname(path) or "."
    found: dict[int, str] = {}
    for name in sorted(os.listdir(above))[:MAX_LOOKED_AT]:
        other = os.path.join(above, name.removesuffix(ACCEPTANCE_SUFFIX))
        if not name.endswith(ACCEPTANCE_SUFFIX) or os.path.basename(other) == os.path.basename(path):
            continue
        try:
            claims = manifest_of(other).claims
        except SealwrightError:  # no release, or one that cannot be compared
            continue
        if claims.product == product and claims.generation is not None:
            found[claims.generation] = other
    return found[max(found)] if found else None


def compared(before: Manifest, now: Manifest) -> Differences:
    """What `now` changes."""
    old, new = _states(before), _states(now)
    files = []
    for name in sorted(old.keys() | new.keys()):
        was, becomes = old.get(name), new.get(name)
        if was != becomes:
            change = Change.ADDED if was is None else Change.REMOVED if becomes is None else Change.CHANGED
            files.append(FileChange(name, change, was, becomes))
    claims = tuple(
        ClaimChange(name, was, becomes)
        for (name, was), (_, becomes) in zip(_claims(before), _claims(now), strict=True)
        if was != becomes
    )
    return Differences(claims, tuple(files), len(new) - sum(one.now is not None for one in files), _back(before, now))


def _states(manifest: Manifest) -> dict[str, FileState]:
    files = {display(one.name): FileState(str(Digest(manifest.algorithm, one.digest)), None) for one in manifest.files}
    return files | {display(link.name): FileState(f"-> {display(link.target)}", None) for link in manifest.links}


def _claims(manifest: Manifest) -> list[tuple[str, str]]:
    claims = manifest.claims
    return [
        ("product", claims.product or ""),
        ("version", claims.version or ""),
        ("generation", "" if claims.generation is None else str(claims.generation)),
        ("hardware", ", ".join(claims.hardware)),
        ("environment", claims.environment or ""),
    ]


def _back(before: Manifest, now: Manifest) -> str:
    old, new = before.claims.generation, now.claims.generation
    if old is not None and (new is None or new < old):
        return f"generation {'none' if new is None else new} after {old}"
    return ""
