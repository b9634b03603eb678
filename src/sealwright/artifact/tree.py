"""A tree's manifest, and the tree compared with one: what is missing, changed or extra is named (RULES 1)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.hashing import hash_tree
from sealwright.artifact.manifest import Manifest, Over
from sealwright.artifact.names import display
from sealwright.artifact.progress import Progress
from sealwright.artifact.sums import FileEntry
from sealwright.artifact.walk import Walked
from sealwright.errors import MalformedArtifact
from sealwright.findings import Finding, note, reject

MAX_NAMED = 1000


def manifest_of_tree(root: str, algorithm: HashName, claims: Claims, progress: Progress | None = None) -> Manifest:
    """Walk and hash a tree. MalformedArtifact for a tree without a regular file (sha256sum could not check it)."""
    walked, names, results = hash_tree(root, algorithm, progress)
    if not names:
        raise MalformedArtifact(root, "there is no file in it", "Sign a folder that holds at least one file.")
    return Manifest(
        algorithm,
        Over.TREE,
        claims,
        tuple(map(FileEntry._make, zip(names, results.digests(), strict=True))),
        tuple(results.executables(names)),
        tuple(walked.folders),
        tuple(walked.links),
        results.total_bytes,
    )


def compare_tree(root: str, manifest: Manifest, progress: Progress | None = None) -> tuple[Finding, ...]:
    """Findings for every difference, at most 1,000 named and then their number; () where the tree is what was signed.

    A file system that keeps no execute bits (all or none set) is noted, not refused. Raises what `walk_tree` raises.
    """
    listed = {entry.name: entry.digest for entry in manifest.files}
    walked, present, results = hash_tree(root, manifest.algorithm, progress, listed)
    executables = set(results.executables(present))
    findings: list[Finding] = []
    count = 0
    changed = [
        (name, listed[name], digest)
        for name, digest in zip(present, results.digests(), strict=True)
        if digest != listed[name]
    ]
    modes = set(manifest.executables) & set(present)
    for finding in _differences(walked, manifest, listed, changed, modes, executables):
        count += 1
        if count <= MAX_NAMED:
            findings.append(finding)
    if count > MAX_NAMED:
        findings.append(reject("SW-TREE-MORE", os.path.basename(root), found=str(count - MAX_NAMED)))
    if _modes_not_kept(executables, present, modes):
        findings.append(note("SW-TREE-MODES-NOT-KEPT", os.path.basename(root)))
    findings += [note("SW-TREE-LEFTOVER", display(name)) for name in walked.leftovers]
    return tuple(findings)


def _differences(
    walked: Walked,
    manifest: Manifest,
    listed: dict[bytes, bytes],
    changed: list[tuple[bytes, bytes, bytes]],
    modes: set[bytes],
    executables: set[bytes],
) -> Iterator[Finding]:
    present = {*walked.files}
    for name, signed, delivered in changed:
        yield reject("SW-TREE-FILE-CHANGED", display(name), signed.hex(), delivered.hex())
    yield from (reject("SW-TREE-FILE-MISSING", display(name)) for name in listed if name not in present)
    yield from (reject("SW-TREE-FILE-EXTRA", display(name)) for name in walked.files if name not in listed)
    links, found_links = {x.name: x.target for x in manifest.links}, {x.name: x.target for x in walked.links}
    for name in sorted(links.keys() | found_links.keys()):
        if links.get(name) != found_links.get(name):
            wanted, found = (display(side[name]) if name in side else "no link" for side in (links, found_links))
            yield reject("SW-TREE-LINK-CHANGED", display(name), wanted, found)
    folders, found_folders = set(manifest.folders), set(walked.folders)
    # A folder that is empty only because its files are missing is said by their names already.
    parents = {parent for name in listed for parent in _parents(name)} if found_folders - folders else set()
    gone = folders - found_folders
    filled = {parent for name in walked.files for parent in _parents(name)} if gone else set()
    yield from (reject("SW-TREE-FOLDER-MISSING", display(name)) for name in sorted(gone - filled))
    yield from (reject("SW-TREE-FOLDER-EXTRA", display(name)) for name in sorted(found_folders - folders - parents))
    if not _modes_not_kept(executables, [n for n in walked.files if n in listed], modes):
        for name in sorted(modes ^ executables):
            wanted, found = ("executable" if name in side else "not executable" for side in (modes, executables))
            yield reject("SW-TREE-MODE-CHANGED", display(name), wanted, found)


def _parents(name: bytes) -> Iterator[bytes]:
    while name := name.rpartition(b"/")[0]:
        yield name


def _modes_not_kept(executables: set[bytes], present: Sequence[bytes], modes: set[bytes]) -> bool:
    return executables != modes and (not executables or len(executables) == len(present) > 1)
