"""Approvals: somebody's own key over the bytes of a request (RULES 6), made at their place and checked at the service.

1. What is signed are the request's very bytes: another digest, key, policy or day is another request.
2. The signature is of the kind `approval` and serves for nothing else; nor does any other signature serve for one.
3. The key is one that the register has for a person at that time (`people.py`). A certificate around it only carries it, as an
   officer's does: no path, no expiry (RULES 5).
4. By an authenticator the scheme is `webauthn` (`webauthn.py`), by a credential that the register has for a person at that time.
5. A person counts once, whatever keys they hold; whoever asks, or answers for the machine that asks, does not count (A114, A120).
A row of a database proves nothing: the service checks all of this again when it signs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sealwright.artifact.digest import Digest
from sealwright.envelope.kinds import APPROVAL
from sealwright.errors import RequestRefused, SealwrightError
from sealwright.keys.pin import Pin
from sealwright.signing.approvalkeys import WebauthnKey
from sealwright.signing.attendance import signers_of
from sealwright.signing.home import EnrolledKey, Home
from sealwright.signing.init import signed_text
from sealwright.signing.signcounts import SignCount
from sealwright.signing.webauthn import read_assertion, verified

MAX_PROOF_BYTES = 64 * 1024
MAX_APPROVALS = 32
_AGAIN = "Approve it again: sealwright approve"


class Scheme(StrEnum):
    """How an approval is signed."""

    CMS = "cms"
    WEBAUTHN = "webauthn"


@dataclass(frozen=True, slots=True)
class Approval:
    """proof: for `cms` a detached CMS, DER; for `webauthn` an authenticator's answer as JSON."""

    scheme: Scheme
    proof: bytes


class Register(Protocol):
    """Who approves in a tenant at a time (`people.Approvers`); None for every other key."""

    def cms(self, key: Digest) -> str | None:
        """The person who signs approvals as CMS by that key."""

    def webauthn(self, credential: bytes) -> WebauthnKey | None:
        """The authenticator's key of that credential."""


@dataclass(frozen=True, slots=True)
class Approver:
    """Whose approval it is. key: SHA-256 of SPKI; counted: what an authenticator counted, None where none signed."""

    person: str
    key: Digest
    counted: SignCount | None = None


def approve(request: bytes, name: str, home: Home, key: EnrolledKey, now: datetime, pin: Pin | None = None) -> Approval:
    """Sign a request as somebody who lets it through, recorded in their own home. name: what the request is called."""
    return Approval(Scheme.CMS, signed_text(request, APPROVAL.name, name, home, key, now, pin))


def key_of(request: bytes, approval: Approval, subject: str) -> Digest:
    """The key that made an approval of exactly these bytes as CMS, SHA-256 of SPKI. RequestRefused where no key did, or several."""
    if approval.scheme is not Scheme.CMS:
        raise RequestRefused(subject, f"it is signed as {approval.scheme}, not as CMS", _AGAIN)
    try:
        if len(approval.proof) > MAX_PROOF_BYTES:
            raise RequestRefused(subject, f"{len(approval.proof)} bytes", _AGAIN)
        keys = signers_of(approval.proof, request, APPROVAL.name, subject)
    except SealwrightError as cause:
        raise RequestRefused(subject, f"it is no approval of this request ({cause.what})", _AGAIN) from cause
    if len(keys) != 1:
        raise RequestRefused(subject, f"{len(keys)} keys signed it, and an approval is one person's", _AGAIN)
    return next(iter(keys))


def approver_of(request: bytes, approval: Approval, register: Register, subject: str) -> Approver | None:
    """Who approved exactly these bytes; None where the key is nobody's now. RequestRefused for an approval that does not hold."""
    if approval.scheme is Scheme.CMS:
        key = key_of(request, approval, subject)
        person = register.cms(key)
        return None if person is None else Approver(person, key)
    if len(approval.proof) > MAX_PROOF_BYTES:
        raise RequestRefused(subject, f"{len(approval.proof)} bytes", _AGAIN)
    assertion = read_assertion(approval.proof, subject)
    credential = register.webauthn(assertion.credential)
    if credential is None:
        return None
    count = verified(assertion, request, credential, subject)
    return Approver(credential.person, credential.key, SignCount(assertion.credential, count))


def approvers(request: bytes, approvals: Iterable[Approval], requester: str, register: Register) -> dict[str, Digest]:
    """The distinct persons whose approvals hold now, without the requester, each with the digest of the proof that counts.

    requester: the person who asked, or who answers for the machine that did. RequestRefused for an approval that does not hold:
    somebody has written into the database.
    """
    found: dict[str, Digest] = {}
    for number, approval in enumerate(approvals, 1):
        if number > MAX_APPROVALS:
            raise RequestRefused("approvals", f"more than {MAX_APPROVALS}", "Ask for the signatures again.")
        approver = approver_of(request, approval, register, f"approval {number}")
        if approver is not None and approver.person != requester:
            found.setdefault(approver.person, Digest.of(approval.proof))
    return found
