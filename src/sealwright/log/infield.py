"""The signatures of files that somebody has, as a log would name them: what a key made past its log is found by them.

    for one in signatures_in("/mnt/plant"): one.signature, one.key, one.path

A folder is walked, links are not followed. Read are signature files beside artifacts (CMS, in DER) and the signatures inside of the
formats that `sign` knows. Nothing is verified here: whether a value is a signature at all is for `verify`, whether it is logged for
`monitor.py`. A signature without its certificate says not by which key it is, and is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms import Envelope, Profile, Signer, read_envelope
from sealwright.errors import SealwrightError, Unreadable
from sealwright.formats.embedded import extract_embedded, recognise, signed_beside
from sealwright.formats.format import Search, Slot
from sealwright.formats.sidecar import PROOF_SUFFIXES, SUFFIXES

MAX_ENVELOPE = 1 << 20
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")


class FieldSignature(NamedTuple):
    """A signature value that was found. signature: SHA-256 of it, in the encoding of CMS; key: SHA-256 of SPKI; path: of the file."""

    signature: Digest
    key: Digest
    path: str


class NotRead(NamedTuple):
    """A file that could not be looked at, and why."""

    path: str
    why: str


def signatures_in(place: str) -> Iterator[FieldSignature | NotRead]:
    """Of a file, or of everything in a folder, in the order of names. Raises Unreadable where there is nothing."""
    if not os.path.lexists(place):
        raise Unreadable(place, "there is nothing", "Name a file or a folder.")
    for path in _files(place):
        try:
            found = [
                FieldSignature(Digest.of(one.signature), key_digest(one.key), path)
                for envelope in _envelopes(path)
                for one in envelope.signers
                if isinstance(one, Signer)
            ]
        except SealwrightError as cause:
            yield NotRead(path, cause.what)
        else:
            yield from found


def proofs_beside(path: str) -> tuple[str, ...]:
    """Where log proofs of a file's signatures would lie."""
    if path.endswith(SUFFIXES[Slot.MAKER]):
        return (path.removesuffix(SUFFIXES[Slot.MAKER]) + PROOF_SUFFIXES[Slot.MAKER],)
    return tuple(path + suffix for suffix in PROOF_SUFFIXES.values())


def _files(place: str) -> Iterator[str]:
    if not os.path.isdir(place):
        yield place
        return
    for folder, folders, names in os.walk(place):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def _envelopes(path: str) -> Iterator[Envelope]:
    with open_artifact(path) as source:
        if source.size <= MAX_ENVELOPE and _SIGNED_DATA in source.read_at(0, 64):
            yield read_envelope(source.read(MAX_ENVELOPE), Profile.FOREIGN_CMS, os.path.basename(path))
        else:
            yield from _inside(path, source)


def _inside(path: str, source: OpenArtifact) -> Iterator[Envelope]:
    search = Search(source=source)
    for form in (recognise(source), *signed_beside(path, search)):
        if form is not None:
            for candidate in extract_embedded(path, form, search).candidates:
                if candidate.envelope is not None:
                    yield candidate.envelope
