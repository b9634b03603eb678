"""The permits that somebody at the device handed to the agent, at its seam (`admission.Permits`); what one may excuse says `trust/permits.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealwright.artifact.digest import Digest
from sealwright.artifact.permit import Permit
from sealwright.device.admission import Asker
from sealwright.formats.permitfiles import Presented, read_permit
from sealwright.trust.permits import Holder, by_permit, use_permit
from sealwright.trust.verdict import Verdict


@dataclass(frozen=True, slots=True)
class PermitsAtHand:
    """The permits, none of them judged yet."""

    permits: tuple[Presented[Permit], ...]

    @property
    def manifests(self) -> frozenset[Digest]:
        """The artifacts that they name."""
        statements = [one.statement for one in self.permits]
        return frozenset(Digest(permit.algorithm, entry.digest) for permit in statements for entry in permit.artifacts)

    def judge(self, verdict: Verdict, asker: Asker) -> Verdict:
        """By the first that makes it trusted."""
        return by_permit(verdict, Holder(asker.config.device, self.permits, asker.believed, asker.clock, asker.memory))

    def use(self, verdict: Verdict, memory: str) -> Verdict:
        """Remembered before anything is installed by it."""
        return use_permit(verdict, memory)


def permits_of(paths: Sequence[str]) -> PermitsAtHand | None:
    """The permits of files; None where there are none. Raises what `read_permit` raises."""
    return PermitsAtHand(tuple(map(read_permit, paths))) if paths else None
