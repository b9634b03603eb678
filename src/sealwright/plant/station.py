"""The station's key: it signs records and nothing else, through the one pipeline, with its home's journal.

The home is opened and locked for each batch alone: two verifications at once wait for each other's signatures, not for each other's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.kinds import RECORD
from sealwright.errors import UsageError
from sealwright.formats.format import Coverage, Prepared
from sealwright.keys.pin import Pin
from sealwright.plant.records import FILE
from sealwright.signing.home import EnrolledKey, Home, KeyPurpose
from sealwright.signing.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class StationKey:
    """An enrolled key for records."""

    home: Home
    enrolled: EnrolledKey
    pin: Pin | None

    @property
    def digest(self) -> Digest:
        """By which records name it."""
        return key_digest(self.enrolled.public_key)

    def sign(self, texts: Sequence[bytes]) -> list[bytes]:
        """Detached CMS of the kind `record` over each text. Raises what the pipeline raises."""
        if not texts:
            return []
        names = {HashName.SHA256, self.enrolled.algorithm.digest}
        batch = [
            Prepared(
                RECORD.name,
                RECORD.name,
                FILE,
                {name: Digest.of(text, name) for name in names},
                None,
                len(text),
                Coverage.whole(len(text)),
                Claims(),
            )
            for text in texts
        ]
        with Pipeline(self.home, self.enrolled, self.pin) as pipeline:
            return [pipeline.sealed(made).envelope for made in pipeline.sign(batch, datetime.now(UTC))]


def enrolled_for_records(home: Home, wanted: str | None) -> EnrolledKey:
    """The key of a home that signs records; UsageError that tells how to make one."""
    if wanted is None and not any(key.purpose is KeyPurpose.RECORD for key in home.keys):
        raise UsageError(
            home.folder,
            "no key is enrolled for records",
            f"Make one, once: sealwright key enrol record --home {home.folder} --name station",
        )
    return home.key(wanted, KeyPurpose.RECORD, RECORD, RECORD.name)
