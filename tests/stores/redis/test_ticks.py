"""Ticks of a deadline: sixteen of them on a loop that runs, one while it is blocked."""

import asyncio
import time

from forecourt.stores.redis.ticks import PER_DEADLINE, Ticks
from tests.servers import eventually


async def test_sixteen_ticks_are_a_deadline() -> None:
    """On an idle loop they take as long as the deadline, and no shorter, and then it stops as told."""
    loop = asyncio.get_running_loop()
    ended: list[float] = []

    def on_tick() -> bool:
        if ticks.now == PER_DEADLINE:
            ended.append(loop.time())
        return not ended

    ticks = Ticks(0.16, on_tick)
    began = loop.time()
    ticks.start()
    ticks.start()
    await eventually(lambda: bool(ended))
    assert 0.159 < ended[0] - began < 1
    assert (ticks.now, ticks._timer) == (PER_DEADLINE, None)


async def test_a_blocked_loop_ticks_once() -> None:
    """What was missed is not made up for."""
    ticks = Ticks(0.16, lambda: True)
    ticks.start()
    time.sleep(0.2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ticks.now == 1
    ticks.stop()
    ticks.stop()
