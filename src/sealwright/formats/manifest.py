"""A tree, or a file with claims, signed through its manifest: `NAME.manifest` and `NAME.manifest.p7s` (RULES 1).

The manifest is text that `sha256sum -c` checks from inside the tree; the signature covers the manifest, the manifest
covers every file. Missing, changed and extra files are findings, each by name. Above 1 MiB the tree's manifest becomes
`NAME.manifest.list` and a small `NAME.manifest` with the claims names it by digest, so that the claims are always small.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.hashing import hash_tree
from sealwright.artifact.manifest import Manifest, Over, manifest_bytes, parse_manifest
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import open_artifact, read_file, read_file_or_none
from sealwright.artifact.sums import FileEntry
from sealwright.artifact.tree import compare_tree, manifest_of_tree
from sealwright.errors import MalformedArtifact, SealwrightError
from sealwright.findings import Finding, reject
from sealwright.formats.detached import refuse_ours
from sealwright.formats.format import Candidate, Companion, Coverage, Found, Prepared, Search
from sealwright.formats.sidecar import MANIFEST_SUFFIX as SUFFIX
from sealwright.formats.sidecar import read_late_tokens, read_sidecars

NAME = "manifest"
KIND = "manifest"
LIST_SUFFIX = ".manifest.list"
MAX_SMALL_BYTES = 1 << 20
MAX_LIST_BYTES = 512 << 20


class ManifestFormat:
    """The format for folders, and for files whose claims are signed."""

    name = NAME

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, progress: Progress | None = None
    ) -> Prepared:
        """The manifest's algorithm is the first (and normally only) one asked for. An empty tree is refused."""
        algorithm = next(iter(algorithms))
        if os.path.isdir(path):
            manifest = manifest_of_tree(path, algorithm, claims, progress)
        else:
            manifest = _manifest_of_file(path, algorithm, claims, progress)
        return prepared_of(path, manifest, algorithms)

    def extract(self, path: str, search: Search) -> Found:
        """Candidates from the signatures of `NAME.manifest`; the delivered files are compared with it once for all."""
        manifest_path = path + SUFFIX
        data = read_file_or_none(manifest_path, MAX_SMALL_BYTES)
        if data is None:
            name = os.path.basename(manifest_path)
            return Found(path, 0, (), None, (reject("SW-MANIFEST-MISSING", name, found=path),))
        artifact = Digest.of(data)
        try:
            manifest = parse_manifest(data, os.path.basename(manifest_path))
            claims, listed = manifest.claims, _listed(path, manifest)
            algorithm: HashName | None = manifest.algorithm
            manifest = manifest if isinstance(listed, Finding) else listed
            size, delivered = manifest.total_bytes, _delivered(path, manifest, search)
            findings = (listed,) if isinstance(listed, Finding) else _compare(path, listed, delivered, search.progress)
            contents = delivered.digests or _members(path, manifest, search)
        except SealwrightError as cause:
            findings = (reject(cause.code, cause.subject, found=cause.what),)
            algorithm = None
            claims, size, delivered, contents = Claims(), 0, _Delivered(), ()
        sidecars = read_sidecars(manifest_path, search)
        tokens, token_findings = read_late_tokens(manifest_path, search) if sidecars else ((), ())
        wanted = {HashName.SHA256}.union(*(sidecar.algorithms for sidecar in sidecars))
        digests = {name: Digest.of(data, name) for name in wanted}
        candidates = tuple(
            Candidate(
                source=os.path.basename(sidecar.path),
                slot=sidecar.slot,
                format=NAME,
                kind=KIND,
                envelope=sidecar.envelope,
                digests=digests,
                artifact=artifact,
                claims=claims,
                coverage=Coverage.whole(size),
                late_tokens=tokens,
                findings=findings + sidecar.findings + token_findings,
                contents=contents,
                name=os.path.basename(manifest_path),
                lists=algorithm,
            )
            for sidecar in sidecars
        )
        shown = next(iter(delivered.digests), artifact)
        return Found(path, size, candidates, shown, findings if not candidates else ())


def prepared_of(path: str, manifest: Manifest, algorithms: Collection[HashName]) -> Prepared:
    """What is signed of a manifest that was made already, whose file goes beside the path."""
    size, content = manifest.total_bytes, manifest_bytes(manifest)
    companions: tuple[Companion, ...] = ()
    if len(content) > MAX_SMALL_BYTES:
        companions = (Companion(LIST_SUFFIX, content),)
        content = manifest_bytes(_naming(path, content, manifest.algorithm, manifest.claims))
    companions += (Companion(SUFFIX, content),)
    digests = {name: Digest.of(content, name) for name in algorithms}
    coverage = Coverage.whole(size)
    return Prepared(NAME, KIND, path, digests, content, size, coverage, manifest.claims, SUFFIX, companions)


def read_listed(path: str) -> tuple[Manifest, bytes]:
    """The manifest of a tree that lists its files, and the bytes of the one at the path, which its signature is over.

    Raises MalformedArtifact where it is none, or the list that it names is another one.
    """
    data = read_file(path, MAX_SMALL_BYTES)
    naming = parse_manifest(data, os.path.basename(path))
    listed = _listed(path.removesuffix(SUFFIX), naming)
    if isinstance(listed, Finding):
        raise MalformedArtifact(
            listed.subject, f"it is not the list that {os.path.basename(path)} names", "Fetch both again."
        )
    if listed.over is not Over.TREE:
        raise MalformedArtifact(path, "it is not the manifest of a folder", "Name the manifest of a folder.")
    return listed, data


def claims_of(data: bytes, subject: str) -> Claims:
    """The claims a manifest's bytes hold; MalformedArtifact if they are no manifest in canonical form."""
    return parse_manifest(data, subject).claims


def check_manifest(prepared: Prepared) -> None:
    """MalformedArtifact where the manifest of a `Prepared` claims something else than it says."""
    if claims_of(prepared.content or b"", prepared.path) != prepared.claims:
        raise MalformedArtifact(
            prepared.path, "its manifest claims something else than was asked for", "Prepare it again."
        )


def _manifest_of_file(path: str, algorithm: HashName, claims: Claims, progress: Progress | None) -> Manifest:
    with open_artifact(path) as source:
        refuse_ours(source)
        digest = source.digests((algorithm,), progress)[algorithm]
        entry = FileEntry(os.fsencode(os.path.basename(path)), digest.value)
        return Manifest(algorithm, Over.FILE, claims, (entry,), total_bytes=source.size)


class _Delivered(NamedTuple):
    """The file that a manifest of one file is about: its digests, the manifest's own first; none for a folder."""

    size: int = 0
    digests: tuple[Digest, ...] = ()


def _delivered(path: str, manifest: Manifest, search: Search) -> _Delivered:
    if manifest.over is not Over.FILE or os.path.isdir(path):
        return _Delivered()
    algorithms = dict.fromkeys((manifest.algorithm, *(digest.algorithm for digest in search.watched)))
    with search.opened(path) as source:
        digests = source.digests(algorithms, search.progress)
        return _Delivered(source.size, tuple(digests.values()))


def _members(path: str, manifest: Manifest, search: Search) -> tuple[Digest, ...]:
    """The watched digests that some file of a tree has; read once more for algorithms that its manifest does not use."""
    found: list[Digest] = []
    for algorithm in dict.fromkeys(digest.algorithm for digest in search.watched):
        if manifest.over is Over.TREE and algorithm is manifest.algorithm:
            present = {entry.digest for entry in manifest.files}
        else:
            present = {*hash_tree(path, algorithm, search.progress).results.digests()}
        found += [digest for digest in search.watched if digest.algorithm is algorithm and digest.value in present]
    return tuple(found)


def _naming(path: str, content: bytes, algorithm: HashName, claims: Claims) -> Manifest:
    name = os.fsencode(os.path.basename(os.path.abspath(path)) + LIST_SUFFIX)
    entry = FileEntry(name, Digest.of(content, algorithm).value)
    return Manifest(algorithm, Over.LIST, claims, (entry,), total_bytes=len(content))


def _compare(path: str, manifest: Manifest, delivered: _Delivered, progress: Progress | None) -> tuple[Finding, ...]:
    if manifest.over is Over.TREE:
        if not os.path.isdir(path):
            return (reject("SW-MANIFEST-KIND", os.path.basename(path), wanted="a folder", found="a file"),)
        return compare_tree(path, manifest, progress)
    if os.path.isdir(path):
        return (reject("SW-MANIFEST-KIND", os.path.basename(path), wanted="a file", found="a folder"),)
    entry = manifest.files[0]
    name = os.fsencode(os.path.basename(path))
    if entry.name != name:
        return (
            reject("SW-MANIFEST-NAME", os.path.basename(path), wanted=os.fsdecode(entry.name), found=os.fsdecode(name)),
        )
    digest = delivered.digests[0]
    if digest.value == entry.digest and delivered.size == manifest.total_bytes:
        return ()
    return (reject("SW-FILE-CHANGED", os.path.basename(path), wanted=entry.digest.hex(), found=digest.value.hex()),)


def _listed(path: str, naming: Manifest) -> Manifest | Finding:
    """The manifest that lists the files: the large one that a small one names by digest, else the same."""
    if naming.over is not Over.LIST:
        return naming
    list_path = path + LIST_SUFFIX
    name = os.path.basename(list_path)
    data = read_file(list_path, MAX_LIST_BYTES)
    digest = Digest.of(data, naming.algorithm)
    if digest.value != naming.files[0].digest:
        return reject("SW-FILE-CHANGED", name, wanted=naming.files[0].digest.hex(), found=digest.value.hex())
    manifest = parse_manifest(data, name)
    if manifest.over is not Over.TREE or manifest.claims != naming.claims:
        return reject(
            "SW-MANIFEST-KIND", name, wanted="the list of a tree with the same claims", found=manifest.over.value
        )
    return manifest
