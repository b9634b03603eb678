"""What somebody signs who prepared their own copy of what is to be signed and came to the same (RULES 2), and by whose keys.

    {"type":"sealwright/prepare/1","request":"5b…","root":"9f…","count":1}

It names the request by the digest of its bytes, and the root and number of what that asks to sign. No request, and no word on an
emergency, has this form; the signature is of the kind `approval`. Persons sign by an approval key. A machine has a key of its own
(`prepare_keys` of the register), which approves nothing, and counts as the person who answers for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.errors import RequestRefused
from sealwright.log.canonical import canonical_json
from sealwright.signing.approval import MAX_APPROVALS, Approval, approver_of
from sealwright.signing.approvalkeys import WebauthnKey
from sealwright.signing.people import PREPARE, Machine, People, Person, Principal
from sealwright.signing.request import SigningRequest

TYPE = "sealwright/prepare/1"


def prepare_text(request: SigningRequest) -> bytes:
    """What somebody signs who prepared the same."""
    return canonical_json({"type": TYPE, "request": request.id, "root": request.root.hex(), "count": request.count})


@dataclass(frozen=True, slots=True)
class Preparers:
    """Who prepares again in a tenant at a time."""

    people: People
    tenant: str
    now: datetime

    def cms(self, key: Digest) -> str | None:
        """The person who signs by that key, or who answers for the machine that does."""
        found = self.people.prepares_by(key)
        if found is None or not self._prepares(found):
            return None
        return found.owner if isinstance(found, Machine) else found.id

    def webauthn(self, credential: bytes) -> WebauthnKey | None:
        """The authenticator's key of that credential."""
        found = self.people.authenticator(credential)
        return found if found is not None and self._prepares(self.people.persons[found.person]) else None

    def principal(self, key: Digest, person: str) -> Principal:
        """Who signed by a key that is one of theirs: the person, or a machine of theirs."""
        found = self.people.prepares_by(key)
        return self.people.principal(person if found is None else found.id, self.now)

    def _prepares(self, one: Person | Machine) -> bool:
        return one.tenant == self.tenant and bool(one.roles & PREPARE) and self.people.counts(one, self.now)


def preparers_of(
    request: SigningRequest,
    prepares: Iterable[Approval],
    requester: str,
    register: Preparers,
    may: Callable[[Principal, Digest], bool],
) -> dict[str, Digest]:
    """The distinct persons who, or whose machines, prepared the same, without the requester, each with the digest of the proof that counts.

    requester: the person who asked, or who answers for the machine that did; may: whether somebody may say it, by the digest of their proof.
    RequestRefused for a proof that does not hold: somebody has written into the database.
    """
    text, found = prepare_text(request), dict[str, Digest]()
    for number, one in enumerate(prepares, 1):
        if number > MAX_APPROVALS:
            raise RequestRefused("second prepares", f"more than {MAX_APPROVALS}", "Ask for the signatures again.")
        signer, proof = approver_of(text, one, register, f"second prepare {number}"), Digest.of(one.proof)
        if signer is None or signer.person == requester:
            continue
        if may(register.principal(signer.key, signer.person), proof):
            found.setdefault(signer.person, proof)
    return found
