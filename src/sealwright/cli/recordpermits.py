"""What `record list` says of permits: which records were made by one, and which break-glass nobody else has looked at yet."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.texts.words import say

if TYPE_CHECKING:
    from sealwright.plant.lookedat import Looked
    from sealwright.plant.records import PermitNamed


@dataclass(slots=True)
class Owed:
    """Counts on the way. looked: the follow-ups, None where no folder of them was named; red: uses that owe one."""

    looked: Looked | None
    red: int = 0

    @classmethod
    def of(cls, args: argparse.Namespace) -> Owed:
        """As the options say; UsageError where one of the two is missing."""
        from sealwright.errors import UsageError

        if args.follow_ups is None:
            return cls(None)
        if args.trust is None:
            raise UsageError("--follow-ups", "who may sign them says the trust file", "Name it with --trust.")
        if not os.path.isdir(args.follow_ups):
            raise UsageError(
                args.follow_ups, "it is no folder", "Name the folder with the permits and their follow-ups."
            )
        from sealwright.plant.lookedat import looked_at
        from sealwright.plant.permits import ground_of
        from sealwright.trust.belief import load_trust

        believed = load_trust(args.trust, fingerprint=args.trust_fingerprint)
        return cls(looked_at(args.follow_ups, ground_of(believed, datetime.now(UTC))))

    def is_red(self, permit: PermitNamed | None) -> bool:
        """Whether a record's permit owes a follow-up still."""
        owes = permit is not None and permit.kind.owes_follow_up
        return owes and permit is not None and (self.looked is None or permit.digest not in self.looked.by_permit)

    def count(self, permit: PermitNamed | None) -> None:
        """One more record."""
        self.red += self.is_red(permit)

    def told(self, permit: PermitNamed | None) -> dict[str, object]:
        """For JSON."""
        settled = None if permit is None or self.looked is None else self.looked.by_permit.get(permit.digest)
        word = None if settled is None else {"outcome": settled.outcome.value, "persons": list(settled.persons)}
        return {"follow_up": word, "red": self.is_red(permit)}

    def marked(self, line: str, permit: PermitNamed | None) -> str:
        """The line of a record with what is to be said of its permit."""
        if permit is None:
            return line
        about = {"line": line, "device": permit.device, "persons": " and ".join(permit.persons)}
        if self.is_red(permit):
            return say("record.red", **about)
        settled = self.looked.by_permit.get(permit.digest) if self.looked is not None else None
        if settled is None:
            return say("record.permit", **about, kind=permit.kind)
        return say("record.followed", **about, outcome=settled.outcome, others=" and ".join(settled.persons))

    def summary(self) -> Iterator[str]:
        """What is owed, and why follow-ups that lie there count for nothing."""
        from sealwright.artifact.names import display

        for finding in self.looked.problems if self.looked is not None else ():
            yield say("record.follow-up-problem", what=display(finding.sentence))
        if self.red:
            yield say("record.owed", count=f"{self.red:,}")
            if self.looked is None:
                yield say("record.owed-unknown")
