"""A log as what records a desk's signatures: intents before the key is used, results before they are told, each held by who signs it.

Of several replicas one signs a request: intents and results are recorded in a transaction that finds the request's row, and locks it,
with this attempt and this replica in it. A replica that stood still for longer than its lease finds another one there, and records nothing.
An order of few has its intents in the transaction that makes it this replica's (`intents`): one commit less before the key is used. Where
it waited for longer than `FRESH_S`, which is far less than a lease, it is looked whose the request is before the key is used.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select, update

from sealwright.artifact.digest import Digest
from sealwright.envelope.kinds import KINDS
from sealwright.errors import JournalError, RequestOver, SealwrightError
from sealwright.formats.format import Prepared
from sealwright.formats.known import EMBEDDED
from sealwright.log.entries import Intent, Refusal
from sealwright.log.entry import SignatureEntry
from sealwright.log.entryfields import Stage
from sealwright.log.journal import Entry, EntryType
from sealwright.log.template import Shapes
from sealwright.log.writer import LogWriter
from sealwright.signing.home import EnrolledKey
from sealwright.signing.items import BESIDE
from sealwright.signing.orders import Order, Part, orders_of
from sealwright.signing.pipeline import artifact_of
from sealwright.signing.tables import REQUESTS, SIGNATURES, State
from sealwright.trust.certificate import load_certificate, tbs_digest

APPEND_S = 60.0
FRESH_S = 5.0
# made once: building a statement costs more than running it
_IDS = REQUESTS.c.id.in_(bindparam("ids", expanding=True))
_SEEN = select(REQUESTS.c.id, REQUESTS.c.state, REQUESTS.c.attempt, REQUESTS.c.holder).where(_IDS)
_HELD = _SEEN.order_by(REQUESTS.c.id).with_for_update()  # one order of locking for all replicas
_SIGNED = update(REQUESTS).where(_IDS).values(state=State.SIGNED)
_MADE = insert(SIGNATURES)
Signed = tuple[Part, bytes]


class LogRecord:
    """A log as the record of a desk's pipeline: intents, refusals, and each signature's entry with its value in the database.

    began: whether intents of the present batch are in the log; leaves: of the entries of its signatures, by order and number of the item;
    over: orders whose results were not recorded, since their requests were given up meanwhile. Used by the desk's thread.
    """

    def __init__(self, writer: LogWriter, enrolled: EnrolledKey) -> None:
        self.began = False
        self.leaves: Mapping[tuple[Order, int], int] = {}
        self.over: dict[Order, RequestOver] = {}
        self._writer = writer
        self._key = enrolled
        self._certificate = tbs_digest(load_certificate(enrolled.certificate, enrolled.name))
        self._parts: Sequence[Part] = ()
        self._now = datetime.min
        self._intents: dict[str, Part] = {}

    def intents(self, order: Order, now: datetime) -> list[bytes]:
        """The intents of a whole order, for the transaction that records its use; for any thread."""
        order.intended = time.monotonic() + FRESH_S
        shapes = Shapes()
        return [self._intent(shapes, order, prepared, now) for _, prepared in order.items]

    def refused(self, order: Order, cause: BaseException, now: datetime) -> None:
        """Say of an order whose intents are recorded that the key was not used; for any thread, and nobody waits for it.

        Where the log does not take it, the intents stand without an end, and nobody knows.
        """
        code = cause.code if isinstance(cause, SealwrightError) else SealwrightError.code
        with suppress(SealwrightError):
            self._writer.append([_refusal(order, code, now)])

    def about(self, parts: Sequence[Part], now: datetime) -> None:
        """What the next intents are about, in order."""
        self._parts, self._now, self._intents = parts, now, {}
        self.began, self.leaves, self.over = False, {}, {}

    def append(self, entries: Sequence[Entry]) -> None:
        """The pipeline's intents or refusals."""
        if not entries:
            return
        if entries[0].type is EntryType.INTENT:
            self._intents = {
                str(entry.fields["request"]): part for part, entry in zip(self._parts, entries, strict=True)
            }
            now = time.monotonic()
            self._hold([part for part in self._parts if part.order.intended < now])
            self.began = True
            return
        refusals = []
        for entry in entries:
            part = self._intents[str(entry.fields["request"])]
            refusals.append(_refusal(part.order, str(entry.fields["code"]), self._now))
        self._append(list(dict.fromkeys(refusals)))  # one for each request

    def finish(self, values: Mapping[str, bytes]) -> None:
        """The signatures, and their values beside them in one transaction; without those of requests that were given up."""
        signed = [(self._intents[request], value) for request, value in values.items()]
        while signed:
            try:
                leaves = self._finish(signed)
            except _GivenUp as cause:
                self.over |= cause.over
                signed = [one for one in signed if one[0].order not in self.over]
            else:
                self.leaves = {(part.order, part.number): leaf for (part, _), leaf in zip(signed, leaves, strict=True)}
                return

    def _finish(self, signed: Sequence[Signed]) -> tuple[int, ...]:
        shapes = Shapes()
        entries = [self._signature(shapes, part, value) for part, value in signed]
        at = round(self._now.timestamp() * 1000)
        counts = Counter(part.order for part, _ in signed)
        orders = list(counts)
        done = [order.request for order, count in counts.items() if len(order.made) + count == len(order.items)]

        def rows(connection: Connection, first: int) -> None:
            _check_held(connection, orders)
            connection.execute(_MADE, _chunks(signed, first, at))
            if done:
                connection.execute(_SIGNED, {"ids": done})

        return self._append(entries, rows)

    def close(self) -> None:
        """The writer is the service's."""

    def _hold(self, parts: Sequence[Part]) -> None:
        """Record the intents that are not there yet, once it is looked whose the requests are."""
        held, shapes = orders_of(parts), Shapes()
        if new := [part for part in parts if not part.order.intended]:
            self._append(
                [self._intent(shapes, part.order, part.prepared, self._now) for part in new],
                lambda connection, _: _check_held(connection, held),
            )
        elif held:
            with self._writer.reader.store.read() as connection:
                _check(held, connection, _SEEN)

    def _intent(self, shapes: Shapes, order: Order, prepared: Prepared, now: datetime) -> bytes:
        """Those of one order differ in their artifact alone."""

        def encoded(artifact: Digest) -> bytes:
            return Intent(
                time=now,
                request=order.request,
                attempt=order.attempt,
                artifact=artifact,
                key=self._key.digest,
                certificate=self._certificate,
                construction=self._key.construction.value,
                policy=order.policy,
            ).encoded()

        return shapes.encoded(order, encoded, artifact_of(prepared, self._key.algorithm))

    def _signature(self, shapes: Shapes, part: Part, value: bytes) -> bytes:
        """Those of one order and the same claims differ in artifact and value alone."""
        order, prepared = part.order, part.prepared

        def encoded(artifact: Digest, signature: Digest) -> bytes:
            return SignatureEntry(
                artifact=artifact,
                signature=signature,
                key=self._key.digest,
                certificate=self._certificate,
                construction=self._key.construction.value,
                policy=order.policy,
                private=order.private,
                claims=prepared.claims,
                file=artifact if prepared.format == "detached" else None,
                **_form(prepared),
            ).encoded()

        alike = (order, prepared.format, prepared.kind, prepared.claims)
        return shapes.encoded(alike, encoded, artifact_of(prepared, self._key.algorithm), Digest.of(value))

    def _append(
        self, entries: Sequence[bytes], rows: Callable[[Connection, int], None] | None = None
    ) -> tuple[int, ...]:
        try:
            return self._writer.append(entries, rows).result(APPEND_S)
        except TimeoutError as cause:
            raise JournalError("log", "it did not answer in time", "See to its database.") from cause


class _GivenUp(RequestOver):
    """Requests that another replica, or another attempt, has now. over: why, by order."""

    def __init__(self, over: Mapping[Order, RequestOver]) -> None:
        first = next(iter(over.values()))
        super().__init__(first.subject, first.what, first.next_step)
        self.over = dict(over)


def _check_held(connection: Connection, orders: Sequence[Order]) -> None:
    """_GivenUp unless each request is still being signed by this attempt of this replica; its row stays locked until the commit."""
    _check(orders, connection, _HELD)


def _check(orders: Sequence[Order], connection: Connection, how: Select[Any]) -> None:
    rows = connection.execute(how, {"ids": [order.request for order in orders]})
    held = {tuple(row) for row in rows}
    over = {
        order: RequestOver(
            order.request, "it was given up while it was being signed here", "Look how it stands, and attempt it again."
        )
        for order in orders
        if (order.request, State.SIGNING.value, order.attempt, order.holder) not in held
    }
    if over:
        raise _GivenUp(over)


def _refusal(order: Order, code: str, now: datetime) -> bytes:
    return Refusal(
        time=now, request=order.request, stage=Stage.KEY, code=code, policy=order.policy, private=order.private
    ).encoded()


def _form(prepared: Prepared) -> dict[str, str]:
    """Artifacts are known by their format, statements by their kind (`log/entry.py`)."""
    of_artifact = prepared.format in BESIDE or prepared.format in EMBEDDED or prepared.kind not in KINDS
    return {"format": prepared.format, "kind": ""} if of_artifact else {"format": "", "kind": prepared.kind}


def _chunks(parts: Sequence[Signed], leaf: int, at: int) -> list[dict[str, object]]:
    """Rows of consecutive items of one order."""
    rows: list[dict[str, object]] = []
    begin = 0
    for end in range(1, len(parts) + 1):
        first, _ = parts[begin]
        if end < len(parts):
            following, _ = parts[end]
            if following.order is first.order and following.number == first.number + end - begin:
                continue
        values = b"".join(len(value).to_bytes(4, "big") + value for _, value in parts[begin:end])
        rows.append(
            {
                "request": first.order.request,
                "first": first.number,
                "count": end - begin,
                "at": at,
                "leaf": leaf + begin,
                "values": values,
            }
        )
        begin = end
    return rows
