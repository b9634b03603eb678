"""Who has signed a staged role, who is still to, and signing it with the keys of one home.

A root is signed by enough keys of its own and by enough of the root before it; every other role by those that the role above it names.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from securesystemslib.signer import Key
from tuf.api.metadata import Root

from sealwright.errors import UsageError
from sealwright.release import roles
from sealwright.release.rolekeys import Payload, RoleKeys
from sealwright.release.staging import RoleFile, Staging


@dataclass(frozen=True, slots=True)
class Standing:
    """A staged role. signed, open: ids of keys that have signed it, and of those that may still; missing: how many of them must."""

    role: str
    version: int
    expires: datetime
    signed: tuple[str, ...]
    open: tuple[str, ...]
    missing: int


def standing_of(staging: Staging, name: str) -> Standing:
    """How a staged role stands; UsageError where none of that name is staged."""
    staged = staging.staged(name)
    if staged is None:
        raise UsageError(name, "no such role is staged", "`sealwright release status` lists what is.")
    payload, signatures = staged.signed_bytes, staged.signatures
    if isinstance(staged.signed, Root):
        before = staging.published.root.signed if staging.published else None
        result = staged.signed.get_root_verification_result(before, payload, signatures)
        missing = max(one.threshold - len(one.signed) for one in (result.first, result.second))
        signed, unsigned = result.signed, result.unsigned
    else:
        one = staging.delegator(name).get_verification_result(name, payload, signatures)
        missing, signed, unsigned = one.threshold - len(one.signed), one.signed, one.unsigned
    return Standing(
        name,
        staged.signed.version,
        staged.signed.expires,
        tuple(sorted(signed)),
        tuple(sorted(unsigned)),
        max(missing, 0),
    )


def sign_staged(staging: Staging, signers: RoleKeys, names: Collection[str] = ()) -> tuple[Standing, ...]:
    """Sign staged roles (those named, else all) with every key of a home or service that may and has not; how each stands afterwards.

    One key signs all its roles at once. Raises what signing raises; what one key signed before another failed is kept.
    """
    wanted = [name for name in staging.staged_names if not names or name in names]
    before = [standing_of(staging, name) for name in wanted]
    for key in sorted({key for one in before for key in one.open} & signers.ids):
        mine = [one.role for one in before if key in one.open]
        staged = {name: cast("RoleFile", staging.staged(name)) for name in mine}
        payloads = [Payload(name, one.signed.version, one.signed_bytes) for name, one in staged.items()]
        for one, signature in zip(staged.values(), signers.sign(key, payloads), strict=True):
            one.signatures[key] = signature
        staging.write_staged(staged)
    return tuple(standing_of(staging, name) for name in wanted)


def keys_named(staging: Staging, name: str) -> dict[str, Key]:
    """The keys that may sign a role, by their ids, by the newest word of the role above it."""
    return {key.keyid: key for key in roles.holders_of(staging.delegator(name), name).keys}
