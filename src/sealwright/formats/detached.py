"""A file signed as it is: a detached DER `.p7s` beside it, every byte covered (RULES 1).

    drive.bin  drive.bin.p7s (maker)  drive.bin.plant.p7s (plant)  drive.bin.tsr (late timestamp)
    openssl cms -verify -binary -inform DER -in drive.bin.p7s -content drive.bin -CAfile ca.pem -purpose any -out /dev/null

The signature binds the bytes and nothing else: neither the file's name nor any claim.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.errors import UsageError
from sealwright.formats.format import Candidate, Coverage, Found, Prepared, Search
from sealwright.formats.sidecar import OURS, read_late_tokens, read_sidecars

NAME = "detached"
KIND = "file"


class Detached:
    """The format for any file that carries no claims."""

    name = NAME

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, progress: Progress | None = None
    ) -> Prepared:
        """UsageError for claims (they need a manifest) and for content that begins like one of our own statements."""
        if claims:
            raise UsageError(path, "a bare signature cannot carry claims", "Sign it with a manifest.")
        with open_artifact(path) as source:
            refuse_ours(source)
            digests = source.digests(algorithms, progress)
            return Prepared(NAME, KIND, path, digests, None, source.size, Coverage.whole(source.size), claims)

    def extract(self, path: str, search: Search) -> Found:
        """Candidates from the signature files beside the artifact, with the digests of the delivered bytes."""
        sidecars = read_sidecars(path, search)
        wanted = {HashName.SHA256, *(digest.algorithm for digest in search.watched)}
        for sidecar in sidecars:
            wanted |= sidecar.algorithms
        with search.opened(path) as source:
            digests = source.digests(wanted, search.progress)
            size = source.size
        artifact = digests[HashName.SHA256]
        tokens, token_findings = read_late_tokens(path, search) if sidecars else ((), ())
        coverage, name = Coverage.whole(size), os.path.basename(path)
        candidates = tuple(
            Candidate(
                source=os.path.basename(sidecar.path),
                slot=sidecar.slot,
                format=NAME,
                kind=KIND,
                envelope=sidecar.envelope,
                digests=digests,
                artifact=artifact,
                coverage=coverage,
                late_tokens=tokens,
                findings=sidecar.findings + token_findings,
                name=name,
            )
            for sidecar in sidecars
        )
        return Found(path, size, candidates, artifact)


def refuse_ours(source: OpenArtifact) -> None:
    """UsageError for content that begins like one of our own statements: each kind is signed by its own command only (RULES 1)."""
    if source.read_at(0, len(OURS)) == OURS:
        raise UsageError(
            source.path, "it begins like a Sealwright manifest or trust file", "Use the command that signs this kind."
        )
