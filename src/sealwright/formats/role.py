"""What the key of a release repository's role signs: the `signed` part of TUF metadata, as canonical JSON (TUF specification, section 4.2.1).

The bytes that a key is asked to sign are read as the role that they say they are, and must be what is written of it again: else a
key of one role could be made to sign bytes that two clients read differently.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from sealwright.errors import LimitExceeded, MalformedArtifact
from sealwright.formats.format import Prepared

if TYPE_CHECKING:
    from tuf.api.metadata import Role, Root, Snapshot, Targets, Timestamp

MAX_BYTES = 16 << 20
PRODUCT = "role "
NAMED = frozenset(("root", "snapshot", "timestamp"))
_NEXT = "Stage the role again."


def check_role(prepared: Prepared) -> None:
    """MalformedArtifact where the content of a `Prepared` is no role of a repository in its one encoding, or another one than is claimed.

    A line does not say its own name: of it the claim is believed as far as that no line is called like the roles that do.
    """
    role = parse_role(prepared.content or b"", prepared.path)
    name = (prepared.claims.product or "").removeprefix(PRODUCT)
    if prepared.claims.version != str(role.version) or (name != role.type and {name, role.type} & NAMED):
        claimed = f"{prepared.claims.product} {prepared.claims.version}"
        raise MalformedArtifact(prepared.path, f"it is {role.type} {role.version}, claimed is {claimed}", _NEXT)


def role_product(name: str) -> str:
    """What a role claims to be in place of a product, which policies can speak of."""
    return PRODUCT + name


def parse_role(content: bytes, subject: str) -> Root | Snapshot | Targets | Timestamp:
    """The role of a signed part; MalformedArtifact for anything but its canonical form, LimitExceeded above 16 MiB."""
    from securesystemslib.formats import encode_canonical
    from tuf.api.metadata import Root, Snapshot, Targets, Timestamp  # an extra, and slow to import

    if len(content) > MAX_BYTES:
        raise LimitExceeded(subject, f"a role of {len(content)} bytes", "Spread its targets over bins.")
    types = {one.type: one for one in (Root, Snapshot, Targets, Timestamp)}
    try:
        fields = json.loads(content, strict=False)  # canonical JSON escapes no line feed of a PEM
        kind = fields.get("_type") if isinstance(fields, dict) else None
        if kind not in types:
            raise ValueError("it is no role of a repository")
        role = types[kind].from_dict(fields)  # which takes its fields out of the value
        if encode_canonical(role.to_dict()) != content.decode():
            raise ValueError("it is not in canonical form")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise MalformedArtifact(subject, f"it cannot be signed as a role: {cause}"[:300], _NEXT) from cause
    return role


class RoleLine(NamedTuple):
    """One thing that a role says, for whoever approves it. size: octets of a target, None for what is none."""

    name: str
    said: str
    size: int | None = None


def lines_of_role(content: bytes, subject: str) -> list[RoleLine]:
    """What a role says: until when, who signs which role, every target, every other role's version. Raises as `parse_role`."""
    from tuf.api.metadata import Root, Snapshot, Targets  # an extra, and slow to import

    role = parse_role(content, subject)
    lines = [RoleLine("expires", f"{role.expires:%Y-%m-%dT%H:%M:%SZ}")]
    if isinstance(role, Root):
        return lines + [_signers(name, one) for name, one in role.roles.items()]
    if isinstance(role, Snapshot):
        return lines + [RoleLine(name, f"version {one.version}") for name, one in role.meta.items()]
    if not isinstance(role, Targets):
        return [*lines, RoleLine("snapshot.json", f"version {role.snapshot_meta.version}")]
    below = role.delegations
    if below is not None:
        lines += [_signers(name, one) for name, one in (below.roles or {}).items()]
        lines += [_signers(f"{one.name_prefix} bins", one) for one in (below.succinct_roles,) if one is not None]
    return lines + [
        RoleLine(path, f"sha256:{one.hashes.get('sha256', '')}", one.length) for path, one in role.targets.items()
    ]


def _signers(name: str, role: Role) -> RoleLine:
    return RoleLine(f"signers of {name}", f"{role.threshold} of {', '.join(sorted(role.keyids))}")
