"""Approvals: somebody's own key over the bytes of a request (RULES 6), made at their place and checked at the service.

1. What is signed are the request's very bytes: another digest, key, policy or day is another request.
2. The signature is of the kind `approval` and serves for nothing else; nor does any other signature serve for one.
3. The key is one that the register has for a person at that time (`people.py`). A certificate around it only carries it, as an
   officer's does: no path, no expiry (RULES 5).
4. A person counts once, whatever keys they hold; whoever asks, or answers for the machine that asks, does not count (A114, A120).
A row of a database proves nothing: the service checks all of this again when it signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sealwright.artifact.digest import Digest
from sealwright.envelope.kinds import APPROVAL
from sealwright.errors import RequestRefused, SealwrightError
from sealwright.keys.pin import Pin
from sealwright.signing.attendance import signers_of
from sealwright.signing.home import EnrolledKey, Home
from sealwright.signing.init import signed_text

MAX_PROOF_BYTES = 64 * 1024
MAX_APPROVALS = 32
_AGAIN = "Approve it again: sealwright approve"


class Scheme(StrEnum):
    """How an approval is signed."""

    CMS = "cms"


@dataclass(frozen=True, slots=True)
class Approval:
    """proof: for `cms` a detached CMS, DER."""

    scheme: Scheme
    proof: bytes


def approve(request: bytes, name: str, home: Home, key: EnrolledKey, now: datetime, pin: Pin | None = None) -> Approval:
    """Sign a request as somebody who lets it through, recorded in their own home. name: what the request is called."""
    return Approval(Scheme.CMS, signed_text(request, APPROVAL.name, name, home, key, now, pin))


def key_of(request: bytes, approval: Approval, subject: str) -> Digest:
    """The key that made an approval of exactly these bytes, SHA-256 of SPKI. RequestRefused where no key did, or several."""
    try:
        if len(approval.proof) > MAX_PROOF_BYTES:
            raise RequestRefused(subject, f"{len(approval.proof)} bytes", _AGAIN)
        keys = signers_of(approval.proof, request, APPROVAL.name, subject)
    except SealwrightError as cause:
        raise RequestRefused(subject, f"it is no approval of this request ({cause.what})", _AGAIN) from cause
    if len(keys) != 1:
        raise RequestRefused(subject, f"{len(keys)} keys signed it, and an approval is one person's", _AGAIN)
    return next(iter(keys))


def approvers(
    request: bytes,
    approvals: Iterable[Approval],
    requester: str,
    person_of: Callable[[Digest], str | None],
) -> dict[str, Digest]:
    """The distinct persons whose approvals hold now, without the requester, each with the digest of the proof that counts.

    person_of: of the register, None for a strange key.

    requester: the person who asked, or who answers for the machine that did. RequestRefused for an approval that does not hold:
    somebody has written into the database.
    """
    found: dict[str, Digest] = {}
    for number, approval in enumerate(approvals, 1):
        if number > MAX_APPROVALS:
            raise RequestRefused("approvals", f"more than {MAX_APPROVALS}", "Ask for the signatures again.")
        person = person_of(key_of(request, approval, f"approval {number}"))
        if person is not None and person != requester:
            found.setdefault(person, Digest.of(approval.proof))
    return found
