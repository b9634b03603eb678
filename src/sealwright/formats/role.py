"""What the key of a release repository's role signs: the `signed` part of TUF metadata, as canonical JSON (TUF specification, section 4.2.1).

The bytes that a key is asked to sign are read as the role that they say they are, and must be what is written of it again: else a
key of one role could be made to sign bytes that two clients read differently.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sealwright.errors import LimitExceeded, MalformedArtifact
from sealwright.formats.format import Prepared

if TYPE_CHECKING:
    from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

MAX_BYTES = 16 << 20
_NEXT = "Stage the role again."


def check_role(prepared: Prepared) -> None:
    """MalformedArtifact where the content of a `Prepared` is no role of a repository in its one encoding."""
    parse_role(prepared.content or b"", prepared.path)


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
