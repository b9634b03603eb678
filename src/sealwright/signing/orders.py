"""What is ordered of a key's desk, and who is next: urgent orders in their order, then every tenant in its turn."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.formats.format import Prepared

TOGETHER = 256


@dataclass(frozen=True, slots=True)
class Value:
    """One signature of an order. value: in the encoding of CMS; at: the time in its attributes; leaf: its entry in the log."""

    value: bytes
    at: datetime
    leaf: int


@dataclass(eq=False, slots=True)
class Order:
    """What somebody waits for. items: by their number in the request; private: digest of who asked and approved.

    attempt, holder: of the request, by whom it is signed; intended: until when, by `time.monotonic`, the intents count that were recorded
    with its use, 0 where none were; answer: the values, once all of them are in the log.
    """

    request: str
    tenant: str
    urgent: bool
    policy: Digest
    private: Digest
    items: Sequence[tuple[int, Prepared]]
    holder: str
    attempt: int = 1
    intended: float = 0.0
    answer: Future[dict[int, Value]] = field(default_factory=Future)
    made: dict[int, Value] = field(default_factory=dict)
    begun: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One artifact that is being signed, of an order."""

    order: Order
    number: int
    prepared: Prepared


class Queue:
    """Who is next: urgent orders in their order, then one part of each tenant in turn. Not locked: the desk does that."""

    def __init__(self) -> None:
        self._urgent: deque[Order] = deque()
        self._tenants: OrderedDict[str, deque[Order]] = OrderedDict()
        self.waiting = 0

    def put(self, order: Order) -> None:
        """Stand in line."""
        self.waiting += len(order.items) - order.begun
        if order.urgent:
            self._urgent.append(order)
        else:
            self._tenants.setdefault(order.tenant, deque()).append(order)

    def take(self, most: int = TOGETHER) -> list[Part]:
        """The next artifacts to sign together, at most so many: of urgent orders, or a part of each tenant's first ones, half of it at most where there are several."""
        parts: list[Part] = []
        if self._urgent:
            while self._urgent and len(parts) < most:
                self._cut(self._urgent, parts, most - len(parts))
        else:
            share = most if len(self._tenants) == 1 else max(1, most // 2)
            for tenant in list(self._tenants):
                if len(parts) >= most:
                    break
                line, room = self._tenants.pop(tenant), min(share, most - len(parts))
                limit = len(parts) + room
                while line and len(parts) < limit:
                    self._cut(line, parts, limit - len(parts))
                if line:
                    self._tenants[tenant] = line  # behind the others
        self.waiting -= len(parts)
        return parts

    def drop(self, order: Order) -> None:
        """An order that was refused while some of it still waits."""
        line = self._urgent if order.urgent else self._tenants.get(order.tenant, deque())
        if order in line:
            line.remove(order)
            self.waiting -= len(order.items) - order.begun
            if not line and not order.urgent:
                self._tenants.pop(order.tenant, None)

    def _cut(self, line: deque[Order], parts: list[Part], room: int) -> None:
        order = line[0]
        for number, prepared in order.items[order.begun : order.begun + room]:
            parts.append(Part(order, number, prepared))
            order.begun += 1
        if order.begun == len(order.items):
            line.popleft()


def orders_of(parts: Sequence[Part]) -> list[Order]:
    """The orders that parts are of, each once."""
    return list(dict.fromkeys(part.order for part in parts))
