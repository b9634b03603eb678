"""Beginning a repository, and changing who holds its keys: each makes staged roles that nobody has signed yet.

begin(folder, settings, roles, lines, now)     version 1 of root, targets and each line
add_line(staging, "gateways", holders, now)
hold(staging, "root", holders, now)            other keys or another threshold: the next root, or the next targets role for a line
renew(staging, ["drives"], now)                the same once more, with a later end
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Root, Signed, Targets

from sealwright.artifact.folders import alone_in, refuse_occupied
from sealwright.errors import UsageError
from sealwright.release import roles
from sealwright.release.roles import Holders
from sealwright.release.staging import Settings, Staging, write_settings


@dataclass(frozen=True, slots=True)
class Roles:
    """Who holds the four roles of every repository."""

    root: Holders
    targets: Holders
    snapshot: Holders
    timestamp: Holders


def begin(folder: str, settings: Settings, who: Roles, lines: Mapping[str, Holders], now: datetime) -> Staging:
    """A new staging folder with unsigned first roles. UsageError where one is there, or where the keys do not fit together."""
    refuse_occupied(folder)
    named = {
        roles.ROOT: who.root,
        roles.TARGETS: who.targets,
        roles.SNAPSHOT: who.snapshot,
        roles.TIMESTAMP: who.timestamp,
    }
    root, targets = roles.first_root(named), Targets()
    for line, holders in lines.items():
        _check_offline(root, roles.check_line(line), holders)
        roles.put_line(targets, line, holders)
    os.makedirs(folder, exist_ok=True)
    write_settings(folder, settings)
    staging = Staging(folder)
    staging.stage({roles.ROOT: root, roles.TARGETS: targets, **{line: Targets() for line in lines}}, now)
    return staging


def add_line(staging: Staging, line: str, holders: Holders, now: datetime) -> None:
    """Stage the targets role with one more line, and the line's first version."""
    with alone_in(staging.folder):
        _check_offline(staging.root.signed, roles.check_line(line), holders)
        targets = _next(staging, roles.TARGETS)
        roles.put_line(targets, line, holders)
        staging.stage({roles.TARGETS: targets, line: Targets()}, now)


def hold(staging: Staging, name: str, holders: Holders, now: datetime) -> tuple[str, ...]:
    """Give a role other keys or another threshold; the roles that are staged for it, which new and old holders have to sign.

    What its keys signed is staged too, a line with its bins: clients read it with the new keys from then on.
    """
    with alone_in(staging.folder):
        changed: dict[str, Signed] = {}
        if name in roles.TOP:
            root = staging.next_root()
            roles.put_top_holders(root, name, holders)
            for line in roles.lines_of(staging.targets.signed):
                _check_offline(root, line, roles.holders_of(staging.targets.signed, line))
            changed[roles.ROOT] = root
            if name == roles.TARGETS:
                changed[name] = _next(staging, name)
        else:
            _check_offline(staging.root.signed, name, holders)
            targets, line_role = _next(staging, roles.TARGETS), _next(staging, name)
            roles.put_line_holders(targets, name, holders)
            roles.put_bin_holders(line_role, name, holders)
            changed |= {roles.TARGETS: targets, name: line_role}
            changed |= {one: _next(staging, one) for one in roles.bins_of(line_role)}
        staging.stage(changed, now)
        return tuple(changed)


def renew(staging: Staging, names: Sequence[str], now: datetime) -> tuple[str, ...]:
    """Stage roles again as they are, so that they end later; a line with its bins. Root, targets and lines alone."""
    with alone_in(staging.folder):
        changed: dict[str, Signed] = {}
        for name in names:
            if name in roles.ONLINE:
                raise UsageError(
                    f"role {name}", "it is made anew with each refresh", "Use `sealwright release refresh`."
                )
            if name not in roles.TOP:
                changed |= {one: _next(staging, one) for one in roles.bins_of(staging.line(name).signed)}
            changed[name] = staging.next_root() if name == roles.ROOT else _next(staging, name)
        staging.stage(changed, now)
        return tuple(changed)


def _next(staging: Staging, name: str) -> Targets:
    found = staging.next_version(name)
    if found is None:
        raise UsageError(
            f"role {name}", "the repository has none of that name", "`sealwright release status` lists them."
        )
    return found.signed


def _check_offline(root: Root, line: str, holders: Holders) -> None:
    """UsageError where a key of the server would sign for a line."""
    online = {one for name in roles.ONLINE for one in root.roles[name].keyids}
    if online & {key.keyid for key in holders.keys}:
        raise UsageError(f"line {line}", "a key of it signs snapshot or timestamp too", "Name another key for it.")
