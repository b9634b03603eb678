"""A second prepare: somebody else prepared their own copy of what is to be signed, came to the same, and signs that (RULES 2).

    SecondPrepares(requests).take(principal, id_, approval)

Who asked, or answers for the machine that did, does not count; a person counts once, with all their keys and machines (A120). What is
signed, and by whose keys, is in `preparers.py`; all of it is verified again when the request is used (`judging.py`, A130).
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import RequestOver, RequestRefused, StoreConflict
from sealwright.log import entries
from sealwright.log.entryfields import Scheme
from sealwright.signing.approval import MAX_APPROVALS, Approval, approver_of
from sealwright.signing.people import People, Principal
from sealwright.signing.policyquestion import Action
from sealwright.signing.preparers import Preparers, prepare_text
from sealwright.signing.requestrows import keep_private, millis, prepares_of
from sealwright.signing.requests import Requests
from sealwright.signing.signcounts import take
from sealwright.signing.standings import Standing
from sealwright.signing.storedrequest import doer_text
from sealwright.signing.tables import PREPARES, REQUESTS, State

_SUBJECT = "prepare"


class SecondPrepares:
    """Those of one service; used by any thread."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def take(self, principal: Principal, id_: str, approval: Approval) -> Standing:
        """Take one in; where nothing else is needed, signing begins.

        RequestRefused for one that does not hold, is not theirs, or of their own request; RequestOver; PolicyRefused.
        """
        requests, now = self._requests, self._requests.clock()
        with requests.store.read() as connection:
            stored = requests.shelf.find(connection, principal, id_, now)
            requests.check_open(connection, stored, now, requests.people())
        if principal.person == stored.person:
            raise RequestRefused(_SUBJECT, "you asked for it, or answer for the machine that did", "Ask somebody else.")
        requests.shelf.must(principal, Action.PREPARE, stored, now)
        people = requests.people()
        found = approver_of(prepare_text(stored.request), approval, Preparers(people, principal.tenant, now), _SUBJECT)
        if found is None or found.person != principal.person or not _is_own(people, found.key, principal):
            raise RequestRefused(
                _SUBJECT, "its key is none with which you sign what you prepared", "Sign it with your own key."
            )
        private = doer_text("prepared_by", principal.id, id_)
        entry = entries.Prepare(
            time=now,
            request=id_,
            asked=Digest.parse(f"sha256:{id_}"),
            prepared=Digest(HashName.SHA256, stored.request.root),
            count=stored.request.count,
            scheme=Scheme(approval.scheme.value),
            approval=Digest.of(approval.proof),
            key=found.key,
            policy=requests.policies().digest,
            private=Digest.of(private),
        ).encoded()

        def rows(connection: Connection, first: int) -> None:
            state = connection.execute(
                select(REQUESTS.c.state).where(REQUESTS.c.id == id_).with_for_update()
            ).scalar_one()
            if state != State.WAITING:
                raise RequestOver(id_, f"it is {state}", "Nothing more has to be prepared.")
            number = len(prepares_of(connection, id_))
            if number == MAX_APPROVALS:
                raise RequestOver(id_, f"{number} have prepared it", "Nothing more has to be prepared.")
            connection.execute(
                insert(PREPARES).values(
                    request=id_,
                    number=number,
                    principal=principal.id,
                    person=principal.person,
                    scheme=approval.scheme,
                    proof=approval.proof,
                    at=millis(now),
                    leaf=first,
                )
            )
            if found.counted is not None:
                take(connection, found.counted)
            keep_private(connection, id_, private)

        try:
            requests.append([entry], rows)
        except StoreConflict as cause:
            raise RequestOver(_SUBJECT, "you, or a machine of yours, have said it already", "Wait.") from cause
        requests.use(id_)
        return requests.shelf.standing(principal, id_)


def _is_own(people: People, key: Digest, principal: Principal) -> bool:
    """Whether it is the caller's own: a machine signs with a key of its own, a person never by that of a machine of theirs."""
    if not principal.machine:
        return key not in {one for machine in people.machines.values() for one in machine.prepare_keys}
    return key in people.machines[principal.id].prepare_keys
