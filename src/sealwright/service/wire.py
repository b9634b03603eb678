"""What the signing service and its clients say to each other: JSON bodies, as OpenAPI describes them.

Octets are base64, times RFC 3339 in UTC, digests `sha256:` and hexadecimal. What is not a field is refused.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from sealwright.signing.items import MAX_CONTENT_BYTES, MAX_ITEMS, MAX_LINE_BYTES

Name = Annotated[str, Meta(min_length=1, max_length=200)]


class WireItem(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One artifact. line: canonical JSON (`signing/items.py`); content: the small content that it names, if it names one."""

    line: Annotated[str, Meta(min_length=2, max_length=MAX_LINE_BYTES)]
    content: Annotated[bytes, Meta(max_length=MAX_CONTENT_BYTES)] | None = None


class Ask(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A request for signatures. key: its name; valid_s: seconds for which it may be approved and used.

    wait_s: seconds to wait for the signatures before answering without them.
    """

    key: Name
    items: Annotated[list[WireItem], Meta(min_length=1, max_length=MAX_ITEMS)]
    reason: Annotated[str, Meta(max_length=200)] = ""
    valid_s: Annotated[int, Meta(ge=60, le=14 * 86400)] = 86400
    wait_s: Annotated[int, Meta(ge=0, le=60)] = 30


class GivenApproval(Struct, forbid_unknown_fields=True):
    """Somebody's approval. scheme: `cms`; proof: a detached CMS over the request's bytes, DER."""

    scheme: Annotated[str, Meta(pattern="^cms$")]
    proof: Annotated[bytes, Meta(min_length=1, max_length=64 * 1024)]


class WireSignature(Struct, omit_defaults=True):
    """One signature. item: its number in the request; value: in the encoding of CMS; time: in its attributes; leaf: in the log."""

    item: int
    value: bytes
    time: str
    leaf: int


class Signatures(Struct):
    """Signatures in the order of their items. next: the item to go on with, null at the end."""

    signatures: list[WireSignature]
    next: int | None = None


class StandingRequest(Struct, omit_defaults=True):
    """A request as it stands. request: the very text that approvers sign; approvals: ids of persons; signed: of `count`.

    needed: approvals without which nothing is signed, by the policies of when it was asked.
    """

    id: str
    number: int
    state: str
    request: str
    requester: str
    created: str
    expires: str
    count: int
    signed: int
    attempt: int
    approvals: list[str]
    reason: str = ""
    problem: str = ""
    needed: int | None = None
    signatures: list[WireSignature] | None = None


class Requests(Struct):
    """A page of requests, oldest first. next: what to give as `after` for the next page, null at the end."""

    requests: list[StandingRequest]
    next: int | None = None


class Items(Struct):
    """A page of what a request asks to sign."""

    items: list[WireItem]
    next: int | None = None


class WireKey(Struct):
    """A key in service. key: SHA-256 of SPKI; certificate, chain: DER, the path without its root; problem: why it does not sign now."""

    name: str
    key: str
    algorithm: str
    construction: str
    provenance: str
    certificate: bytes
    chain: list[bytes]
    ends: str
    waiting: int
    problem: str


class Keys(Struct):
    """The keys that the caller's tenant has."""

    keys: list[WireKey]


class Proofs(Struct):
    """Proofs that signatures are in the log (C2SP tlog-proof), by the number of their item."""

    proofs: dict[int, bytes]
    next: int | None = None


class Health(Struct, omit_defaults=True):
    """Whether the service signs. problems: of keys and parts; warnings: of what it signs without; both without secrets."""

    status: str
    service: str
    version: str
    log_size: int
    problems: list[str]
    warnings: list[str] = []


class Problem(Struct, omit_defaults=True):
    """Why not (RFC 9457). code: of docs/findings.md; next_step: what to do about it; request_id: for the operator's log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    next_step: str = ""
    request_id: str = ""
