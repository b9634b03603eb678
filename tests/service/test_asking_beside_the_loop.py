"""What waits for the database waits in a thread: nobody else's request stands still meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from sealwright.errors import PolicyRefused
from sealwright.service import api
from sealwright.service.wire import Ask, WireItem


@pytest.mark.parametrize(("quotas", "in_the_loop"), [((), True), (("ci-hour",), False)])
def test_quotas_are_counted_beside_the_loop(quotas: Sequence[str], in_the_loop: bool) -> None:
    asked: list[int] = []

    def ask(*_: object) -> None:
        asked.append(threading.get_ident())
        raise PolicyRefused("quota", "it is used up", "Wait.")

    policies = SimpleNamespace(settings=SimpleNamespace(quotas=quotas))
    office: Any = SimpleNamespace(requests=SimpleNamespace(ask=ask, policies=lambda: policies))
    who: Any = None

    async def call() -> int:
        with pytest.raises(PolicyRefused):
            await api.ask.fn(Ask("release", [WireItem("{}")]), who, office)
        return threading.get_ident()

    loop = asyncio.run(call())
    assert (asked == [loop]) is in_the_loop
