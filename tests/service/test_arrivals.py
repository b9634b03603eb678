"""What many threads finish together arrives in the loop, each of it once, whoever has given up waiting."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from random import Random

from sealwright.service.arrivals import Arrivals


def test_what_many_threads_finish_wakes_everybody_who_waits_for_it() -> None:
    futures: list[Future[int]] = [Future() for _ in range(2000)]
    shuffled = list(enumerate(futures))
    Random(7).shuffle(shuffled)

    def finish(part: int) -> None:
        for number, future in shuffled[part::4]:
            future.set_result(number)

    async def wait() -> list[bool]:
        arrivals = Arrivals()
        threads = [threading.Thread(target=finish, args=(part,)) for part in range(4)]
        waiting = [asyncio.ensure_future(arrivals.within(one, 60)) for one in futures[:1000]]
        await asyncio.sleep(0)
        for thread in threads:
            thread.start()
        found = await asyncio.gather(*waiting, *(arrivals.within(one, 60) for one in futures[1000:]))
        for thread in threads:
            thread.join()
        return found

    assert asyncio.run(wait()) == [True] * 2000


def test_who_has_waited_long_enough_hears_that_it_is_not_done_and_it_goes_on() -> None:
    async def wait() -> tuple[bool, bool, bool]:
        arrivals, future, other = Arrivals(), Future[int](), Future[int]()
        late = await arrivals.within(future, 0.0)
        future.set_result(1)  # nobody waits for it any more
        other.set_exception(ValueError("refused"))
        return late, await arrivals.within(future, 60), await arrivals.within(other, 60)

    assert asyncio.run(wait()) == (False, True, True)


def test_what_is_done_when_the_loop_is_closed_disturbs_nobody() -> None:
    arrivals, future = Arrivals(), Future[int]()

    async def leave() -> None:
        waiting = asyncio.ensure_future(arrivals.within(future, 60))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(leave())
    future.set_result(1)
    assert future.result() == 1
