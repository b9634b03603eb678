"""What the signing service and its clients say to each other: JSON bodies, as OpenAPI describes them.

Octets are base64, times RFC 3339 in UTC, digests `sha256:` and hexadecimal. What is not a field is refused.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from sealwright.signing.items import MAX_CONTENT_BYTES, MAX_ITEMS, MAX_LINE_BYTES
from sealwright.signing.provenance import MAX_BYTES

Name = Annotated[str, Meta(min_length=1, max_length=200)]


class WireItem(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One artifact. line: canonical JSON (`signing/items.py`); content: the small content that it names, if it names one."""

    line: Annotated[str, Meta(min_length=2, max_length=MAX_LINE_BYTES)]
    content: Annotated[bytes, Meta(max_length=MAX_CONTENT_BYTES)] | None = None


class Ask(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A request for signatures. key: its name; emergency: it cannot wait for what is usual; provenance: a statement of
    its build (docs/ci/provenance.md); valid_s: seconds for which it may be approved and used.

    wait_s: seconds to wait for the signatures before answering without them.
    """

    key: Name
    items: Annotated[list[WireItem], Meta(min_length=1, max_length=MAX_ITEMS)]
    reason: Annotated[str, Meta(max_length=200)] = ""
    emergency: bool = False
    provenance: Annotated[bytes, Meta(max_length=MAX_BYTES)] | None = None
    valid_s: Annotated[int, Meta(ge=60, le=14 * 86400)] = 86400
    wait_s: Annotated[int, Meta(ge=0, le=60)] = 30


class GivenApproval(Struct, forbid_unknown_fields=True):
    """Somebody's approval. scheme: `cms` or `webauthn`; proof: a detached CMS over the request's bytes, DER, or an authenticator's answer.

    The answer is the W3C's AuthenticationResponseJSON without userHandle and authenticatorAttachment, as RFC 8785 writes it.
    """

    scheme: Annotated[str, Meta(pattern="^(cms|webauthn)$")]
    proof: Annotated[bytes, Meta(min_length=1, max_length=64 * 1024)]


class WireCredential(Struct):
    """A credential of the caller's. rp, origin: where it may be asked; credential: its id."""

    rp: str
    origin: str
    credential: bytes


class Challenge(Struct):
    """What an authenticator signs: SHA-256 of `sealwright approval 1`, a line feed and the request's bytes."""

    challenge: bytes
    credentials: list[WireCredential]


class GivenFollowUp(Struct, forbid_unknown_fields=True):
    """An officer's word on an emergency. proof: as of an approval, over its text (`signing/followup.py`)."""

    outcome: Annotated[str, Meta(pattern="^(confirmed|disputed)$")]
    scheme: Annotated[str, Meta(pattern="^(cms|webauthn)$")]
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

    emergency: it was asked for as one; follow_up_until: when two officers have looked at it, "" where that is not owed; follow_up: "",
    `confirmed` or `disputed`. prepares: ids of others who prepared the same; needed, needed_prepares, needs_upload: approvals, second prepares and files without which nothing is signed, by the policies of when it was asked; ticket: for whoever
    asked by a CI token, in place of the next one: `Authorization: Bearer`, to read this request, its signatures and proofs.
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
    emergency: bool = False
    follow_up_until: str = ""
    follow_up: str = ""
    needed: int | None = None
    needed_prepares: int = 0
    needs_upload: bool = False
    prepares: list[str] = []
    ticket: str = ""
    signatures: list[WireSignature] | None = None


class WireProvenance(Struct):
    """A build provenance as it came. verified: whether a builder signed it that the policies trust now."""

    statement: bytes
    verified: bool


class Requests(Struct):
    """A page of requests, oldest first. next: what to give as `after` for the next page, null at the end."""

    requests: list[StandingRequest]
    next: int | None = None


class Previous(Struct):
    """The release before a request. request: null where none is known."""

    request: StandingRequest | None


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


class Keys(Struct, omit_defaults=True):
    """The keys that the caller's tenant has. timestamps: whether `/v1/timestamps` makes some."""

    keys: list[WireKey]
    timestamps: bool = False


class Proofs(Struct):
    """Proofs that signatures are in the log (C2SP tlog-proof), by the number of their item."""

    proofs: dict[int, bytes]
    next: int | None = None


class KeyFare(Struct):
    """How a key in service fares. name: of the home, "" for the log's own key; token, serial, slot: "" where there are none.

    state: `signs`, `partly` (fewer workers than wanted), `lost` (tried again by itself), `stopped` (a person must come); since: when
    that began; why: "" where all is well; workers: how many sign, of `wanted`.
    """

    name: str
    key: str
    token: str
    serial: str
    slot: str
    state: str
    since: str
    why: str
    workers: int
    wanted: int


class Health(Struct, omit_defaults=True):
    """Whether the service signs. problems: of keys and parts; warnings: of what it signs without; both without secrets."""

    status: str
    service: str
    version: str
    log_size: int
    problems: list[str]
    keys: list[KeyFare]
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
