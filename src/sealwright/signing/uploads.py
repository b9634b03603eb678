"""Uploads: what the service came to by itself from the files of a request (RULES 2), judged and in the log.

    expected = Uploads(requests).expected(principal, id_, number)
    found = ...                                            prepared apart (`service/apart.py`), from the file that came
    Uploads(requests).record(principal, id_, number, file, result)

1. Who asked may upload, and so may whoever may `prepare`; a file is of one item, by its number.
2. The result is an entry of the log, by the service: the same, or different. No row has it, so that none can be forged (A130).
   A rule sees `context.uploaded` where each item has come to the same.
3. After `MAX_UNLIKE` files that were not the same nothing more is taken for a request.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from sealwright.artifact.digest import Digest
from sealwright.errors import NoSuchRequest, RequestOver, RequestRefused
from sealwright.log import entries
from sealwright.log.entryfields import Result
from sealwright.signing.items import Item, prepared_of
from sealwright.signing.people import Principal
from sealwright.signing.policyquestion import Action
from sealwright.signing.preparing import why_not_uploaded
from sealwright.signing.requestrows import keep_private
from sealwright.signing.requests import Requests
from sealwright.signing.standings import Standing
from sealwright.signing.storedrequest import StoredRequest, doer_text
from sealwright.signing.tables import REQUESTS, State

MAX_UNLIKE = 16
_ELSE = "Have somebody prepare it at their place: sealwright confirm"


class Uploads:
    """Those of one service; used by any thread."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def expected(self, principal: Principal, id_: str, number: int) -> Item:
        """The item that a file is to be of. NoSuchRequest, PolicyRefused, RequestOver, RequestRefused where the service cannot prepare it."""
        requests, now = self._requests, self._requests.clock()
        with requests.store.read() as connection:
            stored = requests.shelf.find(connection, principal, id_, now)
            if principal.person != stored.person:
                requests.shelf.must(principal, Action.PREPARE, stored, now)
            history = requests.check_open(connection, stored, now, requests.people())
        if history.unlike >= MAX_UNLIKE:
            raise RequestOver(id_, f"{history.unlike} files came that are not what it asks to sign", _ELSE)
        item = _item(stored, number)
        prepared = prepared_of(item, f"item {number}")
        if why := why_not_uploaded(prepared, requests.largest_upload):
            raise RequestRefused(f"item {number}", why, _ELSE)
        return item

    def record(self, principal: Principal, id_: str, number: int, file: Digest, result: Result) -> Standing:
        """Write down what the service came to; where nothing else is needed, signing begins. file: SHA-256 of what came."""
        requests, now = self._requests, self._requests.clock()
        private = doer_text("uploaded_by", principal.id, id_)
        entry = entries.Upload(
            time=now,
            request=id_,
            item=number,
            artifact=file,
            result=result,
            policy=requests.policies().digest,
            private=Digest.of(private),
        ).encoded()

        def rows(connection: Connection, _: int) -> None:
            state = connection.execute(
                select(REQUESTS.c.state).where(REQUESTS.c.id == id_).with_for_update()
            ).scalar_one()
            if state != State.WAITING:
                raise RequestOver(id_, f"it is {state}", "Nothing more has to be uploaded.")
            keep_private(connection, id_, private)

        requests.append([entry], rows)
        if result is Result.SAME:
            requests.use(id_)
        return requests.shelf.standing(principal, id_)


def _item(stored: StoredRequest, number: int) -> Item:
    for at, item in enumerate(stored.items()):
        if at == number:
            return item
    raise NoSuchRequest(f"item {number}", "the request has no such item", f"It has {stored.request.count}.")
