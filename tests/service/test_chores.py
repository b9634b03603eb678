"""What a service does again and again goes on, whatever went wrong once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sealwright.errors import SealwrightError, StoreUnavailable
from sealwright.service.signing import Service


@pytest.mark.parametrize("wrong", [StoreUnavailable("database", "it is away", "Wait."), ValueError("no time at all")])
def test_what_went_wrong_once_is_said_and_done_again(wrong: Exception) -> None:
    said: list[Any] = []
    nothing: Any = None
    service = Service(nothing, nothing, nothing, nothing, nothing, nothing, said.append)
    begun: list[int] = []

    async def twice() -> None:
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def work() -> None:
            begun.append(1)
            if len(begun) == 1:
                raise wrong
            loop.call_soon_threadsafe(done.set)

        again = asyncio.create_task(service._again(work, "alarm", 0.001))
        await asyncio.wait_for(done.wait(), 60)
        again.cancel()

    asyncio.run(twice())
    code = wrong.code if isinstance(wrong, SealwrightError) else "SW-ERROR"
    assert [(one["event"], one["code"]) for one in said] == [("alarm", code)]
    assert str(wrong) in said[0]["why"]
