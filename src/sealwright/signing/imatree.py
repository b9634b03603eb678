"""IMA signatures of a whole tree, in one list that the builder of an image restores into its file system (`imalist.py`).

    sealwright sign TREE --format ima --out TREE.ima             every regular file is hashed, once, by all cores
    sealwright sign TREE.manifest --format ima --out TREE.ima    the digests are those of the manifest: nothing is hashed

The manifest must be signed by a key of this home, and its digest be the one that the key for IMA signs; it lists no files with
setuid bits, so a root file system is signed as a tree. Files go through the pipeline in batches, each recorded before it is signed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.output import Output, refuse_itself, refuse_taken, write_batch
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import read_file
from sealwright.envelope.cms import Signer, check_signer
from sealwright.envelope.kinds import IMA
from sealwright.errors import BadSignature, ChangedWhileRead, UsageError
from sealwright.formats.format import Search
from sealwright.formats.ima import check_asked, prepared_file, signature_bytes
from sealwright.formats.imalist import MAX_LIST_BYTES, Entry, hash_regular, list_bytes, read_list, regular_files
from sealwright.formats.manifest import KIND, read_listed
from sealwright.formats.registry import plain_folder
from sealwright.formats.sidecar import MANIFEST_SUFFIX, read_sidecars
from sealwright.signing.home import Home, KeyPurpose
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.sign import Signed, SignOptions, check_options
from sealwright.signing.stamps import NONE

BATCH = 1024


class _Listed(NamedTuple):
    """The files of a tree. digests, sizes: one for each name; a manifest says only what all have together."""

    names: Sequence[bytes]
    digests: Sequence[bytes]
    sizes: Sequence[int]
    total_bytes: int


def sign_tree(path: str, home: Home, options: SignOptions, progress: Progress | None = None) -> Signed:
    """Write the list of a folder, or of the one whose signed manifest is named.

    Raises UsageError for claims or a tree without files, BadSignature for a manifest that no key of the home signed.
    """
    out = options.out or ""
    check_options(options)
    check_asked(path, options.claims, options.existing)
    _check_out(out, path, options)
    enrolled = home.key(options.key, KeyPurpose.ARTIFACT, IMA, IMA.name)
    algorithm = IMA.digest_name(enrolled.algorithm)
    listed = _of_manifest(path, home, algorithm) if is_manifest(path) else _of_folder(path, algorithm, progress)
    if not listed.names:
        raise UsageError(path, "there is no regular file in it", "Name a folder with files.")
    now = datetime.now(UTC)
    with Pipeline(home, enrolled, options.pin) as pipeline:
        entries = list(_signed(path, listed, algorithm, pipeline, now))
        data = list_bytes(entries)
        write_batch([Output(out, data, check=lambda new: _check_written(new, entries))], replace=options.replace)
        return Signed(
            path=path,
            outputs=(out,),
            key=enrolled.name,
            subject=pipeline.subject,
            provenance=enrolled.provenance.value,
            algorithm=enrolled.algorithm.name,
            claimed=now,
            stamped=None,
            claims=options.claims,
            size=listed.total_bytes,
        )


def is_manifest(path: str) -> bool:
    """Whether a tree is named by its manifest."""
    return path.endswith(MANIFEST_SUFFIX) and not os.path.isdir(path)


def _check_out(out: str, path: str, options: SignOptions) -> None:
    if options.timestamp not in (None, NONE, (NONE,)):
        raise UsageError("--timestamp", "a list has one signature for each file", "Leave it out.")
    if os.path.isdir(out):
        raise UsageError(out, "it is a folder, and the signatures of a tree are one list", "Name a new file.")
    refuse_itself(path, out)
    refuse_taken(out, options.replace)
    parent, tree = (os.path.realpath(one) for one in (os.path.dirname(os.path.abspath(out)), path))
    if os.path.isdir(tree) and os.path.commonpath([parent, tree]) == tree:
        raise UsageError(out, "it would be a file of the tree, and not in the list", "Name a file outside of the tree.")


def _of_folder(path: str, algorithm: HashName, progress: Progress | None) -> _Listed:
    folder = plain_folder(path)
    names = regular_files(folder)
    results = hash_regular(folder, names, algorithm, progress)
    return _Listed(names, list(results.digests()), results.sizes(), results.total_bytes)


def _of_manifest(path: str, home: Home, algorithm: HashName) -> _Listed:
    manifest, signed = read_listed(path)
    known = {key.certificate for key in home.keys if key.purpose is KeyPurpose.ARTIFACT}
    for sidecar in read_sidecars(path, Search()):
        for signer in sidecar.envelope.signers if sidecar.envelope is not None else ():
            if isinstance(signer, Signer) and signer.certificate in known:
                digest = Digest.of(signed, signer.digest.algorithm)
                check_signer(signer, {digest.algorithm: digest}, KIND, path)
                if manifest.algorithm is not algorithm:
                    said = f"its digests are {manifest.algorithm}, and the key for IMA signs {algorithm}"
                    raise UsageError(path, said, "Sign the folder instead.")
                names, digests = [one.name for one in manifest.files], [one.digest for one in manifest.files]
                return _Listed(names, digests, [0] * len(names), manifest.total_bytes)
    raise BadSignature(
        path, "no key of this home has signed it", "Sign the folder with a manifest first, or sign it as a folder."
    )


def _signed(path: str, listed: _Listed, algorithm: HashName, pipeline: Pipeline, now: datetime) -> Iterator[Entry]:
    for start in range(0, len(listed.names), BATCH):
        part = slice(start, start + BATCH)
        names = listed.names[part]
        batch = [
            prepared_file(os.path.join(path, display(name)), {algorithm: Digest(algorithm, digest)}, size)
            for name, digest, size in zip(names, listed.digests[part], listed.sizes[part], strict=True)
        ]
        for name, made in zip(names, pipeline.sign(batch, now), strict=True):
            yield Entry(name, signature_bytes(pipeline.sealed(made)))


def _check_written(path: str, entries: Sequence[Entry]) -> None:
    """What was written is read as what was signed; each value was verified when it came from the key."""
    if read_list(read_file(path, MAX_LIST_BYTES), path) != tuple(entries):
        raise ChangedWhileRead(path, "what was written is not what was signed", "Sign it again.")
