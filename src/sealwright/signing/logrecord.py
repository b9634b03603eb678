"""A log as what records a desk's signatures: intents before the key is used, results before they are told, each held by who signs it.

Of several replicas one signs a request: intents and results are recorded in a transaction that finds the request's row, and locks it,
with this attempt and this replica in it. A replica that stood still for longer than its lease finds another one there, and records nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, bindparam, insert, select, update

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import SignatureAlgorithm
from sealwright.envelope.kinds import KINDS
from sealwright.errors import JournalError, RequestOver
from sealwright.formats.format import Prepared
from sealwright.formats.known import EMBEDDED
from sealwright.log.entries import Intent, Refusal
from sealwright.log.entry import SignatureEntry
from sealwright.log.entryfields import Stage
from sealwright.log.journal import Entry, EntryType
from sealwright.log.template import Shape
from sealwright.log.writer import LogWriter
from sealwright.signing.home import EnrolledKey
from sealwright.signing.items import BESIDE
from sealwright.signing.orders import Order, Part, orders_of
from sealwright.signing.pipeline import artifact_of
from sealwright.signing.tables import REQUESTS, SIGNATURES, State

APPEND_S = 60.0
# made once: building a statement costs more than running it
_IDS = REQUESTS.c.id.in_(bindparam("ids", expanding=True))
_HELD = (
    select(REQUESTS.c.id, REQUESTS.c.state, REQUESTS.c.attempt, REQUESTS.c.holder)
    .where(_IDS)
    .order_by(REQUESTS.c.id)  # one order of locking for all replicas
    .with_for_update()
)
_SIGNED = update(REQUESTS).where(_IDS).values(state=State.SIGNED)
_MADE = insert(SIGNATURES)
Signed = tuple[Part, Mapping[str, object], bytes]


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
        self._algorithm = enrolled.algorithm
        self._parts: Sequence[Part] = ()
        self._now = datetime.min
        self._intents: dict[str, tuple[Part, Mapping[str, object]]] = {}

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
                str(entry.fields["request"]): (part, entry.fields)
                for part, entry in zip(self._parts, entries, strict=True)
            }
            held = orders_of(self._parts)
            self._append(
                _intents(list(self._intents.values()), self._now),
                lambda connection, _: _check_held(connection, held),
            )
            self.began = True
            return
        refusals = []
        for entry in entries:
            part, _ = self._intents[str(entry.fields["request"])]
            order = part.order
            refusals.append(
                Refusal(
                    time=self._now,
                    request=order.request,
                    stage=Stage.KEY,
                    code=str(entry.fields["code"]),
                    policy=order.policy,
                    private=order.private,
                ).encoded()
            )
        self._append(list(dict.fromkeys(refusals)))  # one for each request

    def finish(self, values: Mapping[str, bytes]) -> None:
        """The signatures, and their values beside them in one transaction; without those of requests that were given up."""
        signed = [(*self._intents[request], value) for request, value in values.items()]
        while signed:
            try:
                leaves = self._finish(signed)
            except _GivenUp as cause:
                self.over |= cause.over
                signed = [one for one in signed if one[0].order not in self.over]
            else:
                self.leaves = {
                    (part.order, part.number): leaf for (part, _, _), leaf in zip(signed, leaves, strict=True)
                }
                return

    def _finish(self, signed: Sequence[Signed]) -> tuple[int, ...]:
        entries = _signatures(signed, self._algorithm)
        parts = [(part, value) for part, _, value in signed]
        at = round(self._now.timestamp() * 1000)

        counts = Counter(part.order for part, _ in parts)
        orders = list(counts)
        done = [order.request for order, count in counts.items() if len(order.made) + count == len(order.items)]

        def rows(connection: Connection, first: int) -> None:
            _check_held(connection, orders)
            connection.execute(_MADE, _chunks(parts, first, at))
            if done:
                connection.execute(_SIGNED, {"ids": done})

        return self._append(entries, rows)

    def close(self) -> None:
        """The writer is the service's."""

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
    rows = connection.execute(_HELD, {"ids": [order.request for order in orders]})
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


def _intents(parts: Sequence[tuple[Part, Mapping[str, object]]], now: datetime) -> list[bytes]:
    """Those of one order differ in their artifact alone."""
    shapes: dict[Order, Shape] = {}
    entries = []
    for part, fields in parts:
        order = part.order
        if (shape := shapes.get(order)) is None:
            shape = shapes[order] = Shape.of(partial(_intent, order, fields, now), 1)
        entries.append(shape.encoded(Digest.parse(str(fields["artifact"]))))
    return entries


def _intent(order: Order, fields: Mapping[str, object], now: datetime, artifact: Digest) -> bytes:
    return Intent(
        time=now,
        request=order.request,
        attempt=order.attempt,
        artifact=artifact,
        key=Digest.parse(str(fields["key"])),
        certificate=Digest.parse(str(fields["certificate"])),
        construction=str(fields["construction"]),
        policy=order.policy,
    ).encoded()


def _signatures(signed: Sequence[Signed], algorithm: SignatureAlgorithm) -> list[bytes]:
    """Those of one order and the same claims differ in artifact and value alone."""
    shapes: dict[tuple[Order, str, str, Claims], Shape] = {}
    entries = []
    for part, fields, value in signed:
        prepared = part.prepared
        alike = (part.order, prepared.format, prepared.kind, prepared.claims)
        if (shape := shapes.get(alike)) is None:
            shape = shapes[alike] = Shape.of(partial(_signature, part, fields), 2)
        entries.append(shape.encoded(artifact_of(prepared, algorithm), Digest.of(value)))
    return entries


def _signature(part: Part, fields: Mapping[str, object], artifact: Digest, signature: Digest) -> bytes:
    prepared = part.prepared
    return SignatureEntry(
        artifact=artifact,
        signature=signature,
        key=Digest.parse(str(fields["key"])),
        certificate=Digest.parse(str(fields["certificate"])),
        construction=str(fields["construction"]),
        policy=part.order.policy,
        private=part.order.private,
        claims=prepared.claims,
        file=artifact if prepared.format == "detached" else None,
        **_form(prepared),
    ).encoded()


def _form(prepared: Prepared) -> dict[str, str]:
    """Artifacts are known by their format, statements by their kind (`log/entry.py`)."""
    of_artifact = prepared.format in BESIDE or prepared.format in EMBEDDED or prepared.kind not in KINDS
    return {"format": prepared.format, "kind": ""} if of_artifact else {"format": "", "kind": prepared.kind}


def _chunks(parts: Sequence[tuple[Part, bytes]], leaf: int, at: int) -> list[dict[str, object]]:
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
