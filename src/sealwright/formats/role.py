"""What the key of a release repository's role signs: the `signed` part of TUF metadata, as canonical JSON (TUF specification, section 4.2.1).

The bytes that a key is asked to sign are read as the role that they say they are, and must be what is written of it again: else a
key of one role could be made to sign bytes that two clients read differently.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.errors import LimitExceeded, MalformedArtifact
from sealwright.formats.format import Prepared

if TYPE_CHECKING:
    from securesystemslib.signer import Key
    from tuf.api.metadata import DelegatedRole, Role, Root, Snapshot, Targets, Timestamp

MAX_BYTES = 16 << 20
PRODUCT = "role "
NAMED = frozenset(("root", "snapshot", "timestamp"))
TARGETS = "targets"
_BIN = re.compile(r"(?P<line>.+)\.bin-[0-9a-f]+")
_NEXT = "Stage the role again."


def check_role(prepared: Prepared) -> None:
    """MalformedArtifact where the content of a `Prepared` is no role of a repository in its one encoding, or another one than is claimed.

    Product and version are all that is claimed: nothing in the bytes would bear out an environment. A line does not say its own name: what
    is claimed to be one lists targets below that name alone and delegates to nobody but its own bins, as only a line does.
    """
    role = parse_role(prepared.content or b"", prepared.path)
    name = (prepared.claims.product or "").removeprefix(PRODUCT)
    claims = Claims(product=role_product(name), version=str(role.version))
    wrong = name != role.type and bool({name, role.type} & NAMED)
    misnamed = prepared.path != name  # by which approvers tell several roles of one request apart
    if prepared.claims != claims or wrong or misnamed or not (name in NAMED or name == TARGETS or _is_line(role, name)):
        claimed = f"{prepared.claims.product} {prepared.claims.version}"
        raise MalformedArtifact(prepared.path, f"it is {role.type} {role.version}, claimed is {claimed}", _NEXT)


def _is_line(role: Root | Snapshot | Targets | Timestamp, name: str) -> bool:
    from tuf.api.metadata import Targets  # an extra, and slow to import

    found, below = _BIN.fullmatch(name), role.delegations if isinstance(role, Targets) else None
    line = found["line"] if found is not None else name
    if not isinstance(role, Targets) or not line or any(not path.startswith(f"{line}/") for path in role.targets):
        return False
    bins = below.succinct_roles if below is not None else None
    return below is None or (found is None and bins is not None and bins.name_prefix == f"{name}.bin")


def role_product(name: str) -> str:
    """What a role claims to be in place of a product, which policies can speak of."""
    return PRODUCT + name


def parse_role(content: bytes, subject: str) -> Root | Snapshot | Targets | Timestamp:
    """The role of a signed part; MalformedArtifact for anything but its canonical form and for a key whose id is not its digest, LimitExceeded
    above 16 MiB."""
    from securesystemslib.exceptions import FormatError
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
        for key_id, key in _keys(role).items():
            named = encode_canonical({"keytype": key.keytype, "scheme": key.scheme, "keyval": key.keyval}) or ""
            if key_id != hashlib.sha256(named.encode()).hexdigest():  # else approvers would read the id of another key
                raise ValueError("a key in it has an id that is not its own")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError) as cause:
        raise MalformedArtifact(subject, f"it cannot be signed as a role: {cause}"[:300], _NEXT) from cause
    return role


class RoleLine(NamedTuple):
    """One thing that a role says, for whoever approves it. size: octets of a target, None for what is none."""

    name: str
    said: str
    size: int | None = None


def lines_of_role(content: bytes, subject: str) -> list[RoleLine]:
    """What a role says: until when, who signs which role and what that may list, every target, every other role's version. Raises as
    `parse_role`."""
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
        for name, one in (below.roles or {}).items():
            lines += [_signers(name, one), RoleLine(f"targets of {name}", ", ".join(_listed(one)))]
        lines += [_signers(f"{one.name_prefix} bins", one) for one in (below.succinct_roles,) if one is not None]
    return lines + [
        RoleLine(path, ", ".join(f"{name}:{value}" for name, value in one.hashes.items()), one.length)
        for path, one in role.targets.items()
    ]


def _keys(role: Root | Snapshot | Targets | Timestamp) -> dict[str, Key]:
    from tuf.api.metadata import Root, Targets  # an extra, and slow to import

    if isinstance(role, Root):
        return role.keys
    return role.delegations.keys if isinstance(role, Targets) and role.delegations is not None else {}


def _listed(role: DelegatedRole) -> Iterator[str]:
    """What a delegated role may list: in short where that is all below its own name."""
    paths = role.paths or []
    if paths and all(path.startswith(f"{role.name}/") for path in paths):
        yield f"{role.name}/"
    else:
        yield from paths
    yield from (f"hashes {prefix}" for prefix in role.path_hash_prefixes or ())


def _signers(name: str, role: Role) -> RoleLine:
    return RoleLine(f"signers of {name}", f"{role.threshold} of {', '.join(sorted(role.keyids))}")
