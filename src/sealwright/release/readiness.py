"""Whether what is staged can be published: signed, following what was published, and taking nothing back.

1. Every staged role is signed by enough keys, is the next version of what was published, and has not ended.
2. A target that was published keeps its bytes and stays, whoever signed otherwise (A160); each lies below its line, and in its bin.
3. A role whose keys changed is signed anew by the new ones; else clients could read nothing below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from tuf.api.metadata import Metadata, TargetFile, Targets

from sealwright.errors import ReleaseRefused
from sealwright.release import roles
from sealwright.release.catalogue import may_change
from sealwright.release.staging import RoleFile, Staging
from sealwright.release.thresholds import standing_of


@dataclass(frozen=True, slots=True)
class Planned:
    """What a publication will do. staged: roles, as their keys signed them; targets: new ones, or with new bytes (channels, proofs)."""

    staged: Mapping[str, RoleFile]
    targets: tuple[TargetFile, ...]

    @property
    def total_bytes(self) -> int:
        """Of the new targets together."""
        return sum(one.length for one in self.targets)


def plan(staging: Staging, now: datetime) -> Planned:
    """Points 1 to 3; ReleaseRefused naming the role that is not ready."""
    staged = {name: cast("RoleFile", staging.staged(name)) for name in staging.staged_names}
    if staging.published is None and roles.ROOT not in staged:
        raise ReleaseRefused(staging.folder, "it has no root", "Begin it with `sealwright release init`.")
    for name, role in staged.items():
        _check_ready(staging, name, role, now)
    _check_below(staging, staged)
    return Planned(staged, tuple(_new_targets(staging, staged)))


def _check_ready(staging: Staging, name: str, role: RoleFile, now: datetime) -> None:
    published = staging.published
    if name == roles.ROOT:
        version = published.root.signed.version if published else 0
        right = role.signed.version == version + 1
    else:
        version = published.version(name) if published else 0
        right = role.signed.version > version
    if not right:
        raise ReleaseRefused(
            f"role {name}",
            f"version {role.signed.version} is staged, and version {version} is published",
            "Remove it from `staged/metadata` and stage it again.",
        )
    if role.signed.expires <= now:
        raise ReleaseRefused(
            f"role {name}", f"it ended on {role.signed.expires:%Y-%m-%d}", "Stage it again: `sealwright release renew`."
        )
    standing = standing_of(staging, name)
    if standing.missing:
        raise ReleaseRefused(
            f"role {name}",
            f"{standing.missing} more of its keys must sign it",
            "Have it signed: `sealwright release sign` with the home of whoever holds one.",
        )


def _check_below(staging: Staging, staged: Mapping[str, RoleFile]) -> None:
    """Point 3: what is not staged itself must verify under the new word of the role above it."""
    published = staging.published
    if published is None:
        return
    lines = roles.lines_of(staging.targets.signed)
    below: list[str] = [roles.TARGETS] if roles.ROOT in staged else []
    below += lines if roles.TARGETS in staged else ()
    for line in lines:
        old, new = staging.published_role(line), staging.role(line)
        if old is None or new is None or old.signed.delegations != new.signed.delegations:
            below += roles.bins_of(new.signed) if new is not None else ()
    for name in below:
        found = staging.role(name)
        if found is None:
            raise ReleaseRefused(f"role {name}", "it has no version yet", "Stage it: `sealwright release renew`.")
        if name not in staged and not staging.delegator(name).get_verification_result(
            name, found.signed_bytes, found.signatures
        ):
            raise ReleaseRefused(
                f"role {name}",
                "its keys change, and what is published of it was signed by the ones before",
                "Stage it too and have it signed by the new ones: `sealwright release renew`.",
            )


def _new_targets(staging: Staging, staged: Mapping[str, RoleFile]) -> Iterable[TargetFile]:
    """Point 2, for each line of which a role is staged."""
    names = [name for name, one in staged.items() if isinstance(one.signed, Targets) and name != roles.TARGETS]
    for line in sorted({roles.line_of(name) for name in names}):
        mine = [name for name in names if roles.line_of(name) == line]
        published = [staging.published_role(name) for name in {line, *mine}]
        old = roles.targets_of(one.signed for one in published if one is not None)
        new = roles.targets_of(cast("Metadata[Targets]", staging.role(name)).signed for name in {line, *mine})
        _check_places(staging, line, mine)
        for path, target in old.items():
            following = new.get(path)
            if following is None or (following.hashes != target.hashes and not may_change(path)):
                what = "is missing" if following is None else "has other bytes"
                raise ReleaseRefused(
                    path,
                    f"it was released, and {what} in what is staged",
                    "Stage the line again; find out who changed it.",
                )
        yield from (target for path, target in new.items() if path not in old or old[path].hashes != target.hashes)


def _check_places(staging: Staging, line: str, names: Iterable[str]) -> None:
    """Every target of a line's roles is where clients look for it."""
    top = cast("Metadata[Targets]", staging.role(line)).signed
    for name in names:
        for path in cast("Metadata[Targets]", staging.role(name)).signed.targets:
            if not path.startswith(f"{line}/") or not 2 <= path.count("/") < roles.MAX_PARTS:
                raise ReleaseRefused(path, f"it does not lie below the line {line}", "Stage the line again.")
            if roles.role_for(top, line, path) != name:
                raise ReleaseRefused(path, f"it is listed by {name}, where no client looks", "Stage the line again.")
