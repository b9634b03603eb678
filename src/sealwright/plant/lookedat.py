"""Which uses of break-glass were looked at afterwards: the follow-ups in a folder, each beside its permit, judged by a trust file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.lookedat import SUFFIX, LookedAt
from sealwright.errors import LimitExceeded, SealwrightError
from sealwright.findings import Finding, warning
from sealwright.formats.permitfiles import read_follow_up
from sealwright.plant.permits import permit_of
from sealwright.trust.ground import Ground
from sealwright.trust.permitfollowups import follow_up_problems, is_settled

MAX_FOLLOW_UPS = 10_000


class Settled(NamedTuple):
    """What became of the use of a permit, and by whose word."""

    outcome: LookedAt
    persons: tuple[str, ...]


class Looked(NamedTuple):
    """by_permit: what is settled, by the digest of the permit's text; problems: why other follow-ups count for nothing, as warnings."""

    by_permit: Mapping[Digest, Settled]
    problems: tuple[Finding, ...]


def looked_at(folder: str, ground: Ground) -> Looked:
    """The follow-ups that settle something. OSError for what is no folder; LimitExceeded for more than ten thousand."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    if len(names) > MAX_FOLLOW_UPS:
        raise LimitExceeded(folder, f"{len(names)} follow-ups", f"At most {MAX_FOLLOW_UPS} are read.")
    found: dict[Digest, Settled] = {}
    problems: list[Finding] = []
    for name in names:
        path = os.path.join(folder, name)
        try:
            one, permit = read_follow_up(path), permit_of(path)
        except SealwrightError as cause:
            problems.append(warning(cause.code, name, found=cause.what))
            continue
        persons, about = follow_up_problems(one, permit, ground)
        problems += about
        if is_settled(persons):
            found[Digest.of(permit.text)] = Settled(one.statement.outcome, persons)
    return Looked(found, tuple(problems))
