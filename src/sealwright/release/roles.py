"""The roles of a repository as values: who may sign what, with which keys, and how each change makes the next version of a role.

| role | signs | keys |
|---|---|---|
| root | the keys of all four | offline, of several persons |
| targets | which product lines there are, and their keys | offline |
| LINE, such as `drives` | its releases and its channels; above 1,000 targets its releases lie in 64 bins that it delegates to itself | of the line's persons |
| snapshot | which version of each role is the current one | online |
| timestamp | which snapshot is the current one | online |

Snapshots are consistent: a role's file is named by its version and a target's by its SHA-256, so that a client that began before a
publication ends with the files of before. A line's bins are drawn by the hash of a target's name (TAP 15), so a further release changes
few of them, and a client fetches one of them for each file that it looks for. Source: The Update Framework, specification 1.0.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from securesystemslib.signer import Key
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Role,
    Root,
    SuccinctRoles,
    TargetFile,
    Targets,
)

from sealwright.errors import UsageError
from sealwright.release.layout import CHANNELS, checked_part

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
TOP = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
ONLINE = (SNAPSHOT, TIMESTAMP)
MAX_PARTS = 18  # of a target's name: line, product, version, and 15 more in the release
BINS_FROM = 1000
BIN_BITS = 6
_BIN = re.compile(r".+\.bin-[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Holders:
    """Whose keys sign a role, and how many of them must."""

    keys: tuple[Key, ...]
    threshold: int


def first_root(holders: Mapping[str, Holders]) -> Root:
    """Version 1. holders: of the four roles; UsageError where a role could never be signed, or an online key signs what is offline."""
    root = Root(version=1, consistent_snapshot=True)
    for name in TOP:
        _hold(root.roles, root.keys, name, holders[name])
    check_apart(root)
    return root


def check_apart(root: Root) -> None:
    """UsageError where a key that lies on a server signs root or targets too: whoever breaks in there could sign for everything."""
    online = {key for name in ONLINE for key in root.roles[name].keyids}
    for name in (ROOT, TARGETS):
        if online & set(root.roles[name].keyids):
            raise UsageError(f"role {name}", "a key of it signs snapshot or timestamp too", "Name another key for it.")


def check_line(name: str) -> str:
    """The name of a product line, which is the name of its role; UsageError where it cannot be one."""
    checked_part(name, "product line")
    if name in TOP or _BIN.fullmatch(name):
        raise UsageError(name, "a role of every repository is called so", "Choose another name for the line.")
    return name


def put_line(targets: Targets, line: str, holders: Holders) -> None:
    """One more line in the next version of the targets role; its targets are all those below `LINE/`."""
    delegations = targets.delegations or Delegations(keys={}, roles={})
    lines = delegations.roles
    if lines is None or line in lines:
        raise UsageError(line, "the repository has this line already", "Name another line.")
    paths = ["/".join([line, *"*" * (parts - 1)]) for parts in range(3, MAX_PARTS + 1)]
    lines[line] = DelegatedRole(line, [], 1, terminating=True, paths=paths)
    _hold(lines, delegations.keys, line, holders)
    targets.delegations = delegations


def lines_of(targets: Targets) -> tuple[str, ...]:
    """The lines that a targets role delegates, sorted."""
    return tuple(sorted((targets.delegations.roles or {}) if targets.delegations else ()))


def holders_of(delegator: Root | Targets, name: str) -> Holders:
    """Who signs a role by the word of the one above it."""
    role = delegator.get_delegated_role(name)
    return Holders(tuple(delegator.get_key(one) for one in role.keyids), role.threshold)


def put_top_holders(root: Root, name: str, holders: Holders) -> None:
    """Other keys for one of the four roles, in the next version of the root."""
    _hold(root.roles, root.keys, name, holders)
    check_apart(root)


def put_line_holders(targets: Targets, name: str, holders: Holders) -> None:
    """Other keys for a line, in the next version of the targets role."""
    delegations = targets.delegations
    if delegations is None or not delegations.roles or name not in delegations.roles:
        raise UsageError(name, "the repository has no such line", "Name one of its lines.")
    _hold(delegations.roles, delegations.keys, name, holders)


def put_bin_holders(line: Targets, name: str, holders: Holders) -> None:
    """The keys of a line for its bins, in the next version of its role."""
    if line.delegations is not None:
        line.delegations = _bins(name, holders)


def in_bins(line: Targets, name: str, holders: Holders) -> dict[str, Targets]:
    """The bins of a line that grew large, each of version 1, with its targets in them; the line keeps its channels.

    `line` is changed: it is the next version, being made.
    """
    delegations = _bins(name, holders)
    assert delegations.succinct_roles is not None  # noqa: S101  # made above
    bins = {one: Targets(version=1) for one in delegations.succinct_roles.get_roles()}
    for path in [path for path in line.targets if not path.endswith(f"/{CHANNELS}")]:
        bins[delegations.succinct_roles.get_role_for_target(path)].targets[path] = line.targets.pop(path)
    line.delegations = delegations
    return bins


def role_for(line: Targets, name: str, path: str) -> str:
    """The role that lists a target of a line: the line's own or one of its bins."""
    delegations = line.delegations
    if delegations is None or delegations.succinct_roles is None or path.endswith(f"/{CHANNELS}"):
        return name
    return delegations.succinct_roles.get_role_for_target(path)


def bins_of(line: Targets) -> tuple[str, ...]:
    """The names of a line's bins; () where it has none."""
    delegations = line.delegations
    if delegations is None or delegations.succinct_roles is None:
        return ()
    return tuple(delegations.succinct_roles.get_roles())


def line_of(role: str) -> str:
    """The line of a bin; a line's own name stays."""
    return role.rpartition(".bin-")[0] if _BIN.fullmatch(role) else role


def target_of(path: str, size_bytes: int, sha256: str) -> TargetFile:
    """A target as a role lists it."""
    return TargetFile(size_bytes, {"sha256": sha256}, path)


def published_name(target: TargetFile) -> str:
    """Where a target lies below `targets/`: with its SHA-256 before its last part."""
    folder, slash, base = target.path.rpartition("/")
    return f"{folder}{slash}{target.hashes['sha256']}.{base}"


Kind = TypeVar("Kind", Root, Targets)


def next_of(role: Kind) -> Kind:
    """A copy with the next version, to be changed."""
    after = copy.copy(role)
    if isinstance(after, Root):
        after.roles, after.keys = copy.deepcopy(after.roles), dict(after.keys)
    else:
        after.targets, after.delegations = dict(after.targets), copy.deepcopy(after.delegations)
    after.version += 1
    return after


def _bins(name: str, holders: Holders) -> Delegations:
    ids = [key.keyid for key in holders.keys]
    keys = {key.keyid: key for key in holders.keys}
    return Delegations(keys, succinct_roles=SuccinctRoles(ids, holders.threshold, BIN_BITS, f"{name}.bin"))


def _hold(roles: Mapping[str, Role], keys: dict[str, Key], name: str, holders: Holders) -> None:
    ids = [key.keyid for key in holders.keys]
    if len(set(ids)) != len(ids):
        raise UsageError(f"role {name}", "a key is named twice", "Name each once.")
    if not 1 <= holders.threshold <= len(ids):
        raise UsageError(
            f"role {name}",
            f"{holders.threshold} of {len(ids)} keys is no threshold",
            "Name at least as many keys as must sign, and at least one.",
        )
    roles[name].keyids = ids
    roles[name].threshold = holders.threshold
    keys |= {key.keyid: key for key in holders.keys}
    used = {one for role in roles.values() for one in role.keyids}
    for gone in keys.keys() - used:
        del keys[gone]


def targets_of(roles: Iterable[Targets]) -> dict[str, TargetFile]:
    """All targets of some roles, by name."""
    return {path: target for role in roles for path, target in role.targets.items()}


def order_of(names: Iterable[str]) -> Sequence[str]:
    """Roles in the order in which one vouches for the next: root, targets, lines, bins."""
    return sorted(names, key=lambda name: (name != ROOT, name != TARGETS, line_of(name) != name, name))
