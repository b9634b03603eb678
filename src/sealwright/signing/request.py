"""A request for signatures in the one form that approvers sign and the log knows by its digest (RULES 6).

    {"type":"sealwright/request/1","service":"acme-signing","origin":"log.acme.example","nonce":"4f…","requester":"p7",
     "tenant":"acme","root":"5b…","count":1,"format":"detached","kind":"file","construction":"cms-attributes",
     "key":"sha256:…","policy":"sha256:…","product":"drive","not_before":"…","expires":"…"}

RFC 8785 JSON, so it has one spelling. Root and count bind the list of what is to be signed (`items.py`), claims are those that all of
it make alike. Service, log and nonce make it good in one place and once; the nonce also keeps anybody who has the log alone from
finding the requester by guessing, since the log knows a request by the digest of these bytes. The service makes it, never a client.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.errors import RequestRefused
from sealwright.log.canonical import Field, canonical_json, read_canonical, read_time, time_text
from sealwright.log.entry import claim_fields, read_claims
from sealwright.log.merkle import HASH_BYTES
from sealwright.signing.items import MAX_ITEMS

TYPE = "sealwright/request/1"
NONCE_BYTES = 16
_HEX = re.compile(r"[0-9a-f]+")
_CLAIMS = tuple(one.name for one in fields(Claims))
_TEXTS = ("service", "origin", "nonce", "requester", "tenant", "format", "kind", "construction")
_DIGESTS = ("key", "policy")
_TIMES = ("not_before", "expires")
_OPTIONAL = ("provenance", "reason", "emergency")


@dataclass(frozen=True)  # without slots: its bytes are made once
class SigningRequest:
    """service, origin: of the service and its log; nonce: 32 hex digits; requester, tenant: ids of the register.

    root: over the lines of what is to be signed, 32 octets; count: how many; format, kind, construction, claims: of all of them.
    key: SHA-256 of SPKI; policy: of the policies under which it was asked; provenance: digest of the statement that came with it.
    reason: salted digest of free text; emergency: asked for beside the ordinary approvals. Times are aware, to the second.
    """

    service: str
    origin: str
    nonce: str
    requester: str
    tenant: str
    root: bytes
    count: int
    format: str
    kind: str
    construction: str
    key: Digest
    policy: Digest
    claims: Claims
    not_before: datetime
    expires: datetime
    provenance: Digest | None = None
    reason: Digest | None = None
    emergency: bool = False

    def encoded(self) -> bytes:
        """The bytes that approvers sign."""
        return self._encoded

    @cached_property
    def id(self) -> str:
        """What everybody calls it: SHA-256 of its bytes, 64 hex digits."""
        return Digest.of(self._encoded).value.hex()

    @cached_property
    def _encoded(self) -> bytes:
        named: dict[str, Field] = {
            "type": TYPE,
            **{name: getattr(self, name) for name in _TEXTS},
            **{name: str(getattr(self, name)) for name in _DIGESTS},
            **{name: time_text(getattr(self, name)) for name in _TIMES},
            "root": self.root.hex(),
            "count": self.count,
            **claim_fields(self.claims),
        }
        if self.provenance is not None:
            named["provenance"] = str(self.provenance)
        if self.reason is not None:
            named["reason"] = str(self.reason)
        if self.emergency:
            named["emergency"] = "yes"
        return canonical_json(named)

    def holds(self, now: datetime) -> bool:
        """Whether it may be approved and used at that time."""
        return self.not_before <= now <= self.expires


def new_nonce() -> str:
    """A nonce for a request."""
    return secrets.token_hex(NONCE_BYTES)


def read_request(data: bytes, subject: str) -> SigningRequest:
    """Read a request; RequestRefused with what is wrong, for anything but its one form."""
    try:
        request = _request(read_canonical(data))
        if request.encoded() != data:
            raise ValueError("it is not in its one form")
        return request
    except (ValueError, KeyError) as cause:
        what = f"`{cause.args[0]}` is missing" if isinstance(cause, KeyError) else str(cause)
        raise RequestRefused(
            subject, f"it is no request for signatures: {what[:200]}", "Fetch it again from its service."
        ) from cause


def _request(named: Mapping[str, Field]) -> SigningRequest:
    if named["type"] != TYPE:
        raise ValueError("another type")
    known = {"type", "root", "count", *_TEXTS, *_DIGESTS, *_TIMES, *_CLAIMS, *_OPTIONAL}
    if unknown := set(named) - known:
        raise ValueError(f"`{min(unknown)[:40]}` is no field of it")
    texts = {name: _text(named, name) for name in _TEXTS}
    root, count = bytes.fromhex(_text(named, "root")), named["count"]
    if len(root) != HASH_BYTES or not isinstance(count, int) or not 1 <= count <= MAX_ITEMS:
        raise ValueError("root or count cannot be")
    if len(texts["nonce"]) != 2 * NONCE_BYTES or not _HEX.fullmatch(texts["nonce"]):
        raise ValueError("`nonce` is none")
    if named.get("emergency", "yes") != "yes":
        raise ValueError("`emergency` is said by being there")
    return SigningRequest(
        **texts,
        root=root,
        count=count,
        key=Digest.parse(_text(named, "key")),
        policy=Digest.parse(_text(named, "policy")),
        claims=read_claims(named),
        not_before=read_time(named["not_before"]),
        expires=read_time(named["expires"]),
        provenance=Digest.parse(_text(named, "provenance")) if "provenance" in named else None,
        reason=Digest.parse(_text(named, "reason")) if "reason" in named else None,
        emergency="emergency" in named,
    )


def _text(named: Mapping[str, Field], name: str) -> str:
    value = named[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` is no text")
    return value
