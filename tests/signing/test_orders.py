"""Who is next at a key's desk, and how much of it."""

from __future__ import annotations

import pytest

from kit.service import wanted
from sealwright.artifact.digest import Digest
from sealwright.signing.desk import paced
from sealwright.signing.items import prepared_of
from sealwright.signing.orders import Order, Queue


def order(name: str, count: int, tenant: str = "acme", *, urgent: bool = False) -> Order:
    items = [prepared_of(item, "item") for item in wanted([f"{name}-{number}" for number in range(count)])]
    nothing = Digest.of(b"")
    return Order(name, tenant, urgent, nothing, nothing, list(enumerate(items)), "holder")


def taken(queue: Queue, most: int) -> list[tuple[str, int]]:
    return [(part.order.request, part.number) for part in queue.take(most)]


def test_an_urgent_order_waits_for_one_part_of_a_large_one() -> None:
    queue = Queue()
    queue.put(order("night", 1000))
    assert len(taken(queue, 32)) == 32
    queue.put(order("fix", 2, urgent=True))
    assert taken(queue, 32) == [("fix", 0), ("fix", 1)]
    assert taken(queue, 32)[0] == ("night", 32)


def test_a_tenant_with_one_artifact_does_not_wait_for_anothers_batch() -> None:
    queue = Queue()
    queue.put(order("night", 1000))
    queue.put(order("one", 1, "other"))
    found = taken(queue, 32)
    assert len(found) == 17
    assert ("one", 0) in found


@pytest.mark.parametrize("most", [1, 2, 7, 256])
def test_everything_is_taken_once_in_order(most: int) -> None:
    queue = Queue()
    queue.put(order("a", 9))
    queue.put(order("b", 5, "other"))
    found: list[tuple[str, int]] = []
    while queue.waiting:
        found += taken(queue, most)
    assert sorted(found) == [("a", number) for number in range(9)] + [("b", number) for number in range(5)]
    assert [number for name, number in found if name == "a"] == list(range(9))


@pytest.mark.parametrize(
    ("signed", "spent_s", "most"),
    [
        pytest.param(256, 0.05, 256, id="a fast key keeps its parts"),
        pytest.param(256, 0.4, 32, id="a token takes what fits a turn"),
        pytest.param(1, 3.0, 16, id="never fewer than one commit is worth"),
        pytest.param(1, 0.0, 256, id="a clock that stood still"),
    ],
)
def test_a_part_takes_a_turn_whatever_the_key(signed: int, spent_s: float, most: int) -> None:
    assert paced(signed, spent_s) == most
