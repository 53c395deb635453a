"""Values of code in the cache of several processes: made once, waited for, purged, and given up."""

import asyncio

import pytest

from tests.callers import settle_down
from tests.layers.processes import Processes


async def test_values_that_were_long_in_making_are_not_shared_unheard() -> None:
    """As answers: with the log cut off, who came 50 ms after the making began has another one."""
    both = Processes()
    await both.two.get()
    both.store.deaf = True
    gate, made = asyncio.Event(), []

    async def make() -> int:
        made.append(1)
        number = len(made)
        await gate.wait()
        await asyncio.sleep(0)
        return number

    cache = both.two.config.cache
    calls = [asyncio.create_task(cache.get_or_set("key", make, ttl=10, tags="t"))]
    await both.pass_by(0.1)
    calls += [asyncio.create_task(cache.get_or_set("key", make, ttl=10, tags="t")) for _ in range(2)]
    await settle_down()
    gate.set()
    await both.pass_by(0.1)
    assert await asyncio.gather(*calls) == [1, 2, 2]


async def test_values_are_made_once_for_all_processes() -> None:
    """`get_or_set` leads and waits as answers do."""
    both = Processes()
    await both.one.get()
    await both.two.get()
    gate, made = asyncio.Event(), []

    async def make() -> int:
        made.append(1)
        await gate.wait()
        return 7

    caches = [both.one.config.cache, both.two.config.cache]
    calls = [asyncio.create_task(cache.get_or_set("key", make, ttl=10, tags="t")) for cache in caches]
    await both.pass_by(0.3)
    gate.set()
    await both.pass_by(0.3)
    assert await asyncio.gather(*calls) == [7, 7]
    assert len(made) == 1
    await caches[0].invalidate("t")
    await both.pass_by(0.1)
    assert await caches[1].get_or_set("key", make, ttl=10, tags="t") == 7
    assert len(made) == 2


async def test_values_that_were_purged_softly_are_made_anew() -> None:
    """Nobody refreshes a value in the background: what is stale in the store is none."""
    both = Processes()
    await both.one.get()
    await both.two.get()
    caches = [both.one.config.cache, both.two.config.cache]
    made: list[int] = []

    async def make() -> int:
        made.append(1)
        return len(made)

    assert await caches[0].get_or_set("key", make, ttl=10, tags="t") == 1
    await settle_down()
    await caches[0].invalidate("t", soft=True)
    assert await caches[1].get_or_set("key", make, ttl=10, tags="t") == 2
    await settle_down()
    assert await caches[0].get_or_set("key", make, ttl=10, tags="t") == 2


async def test_who_waits_for_a_value_in_vain_makes_it() -> None:
    """After five seconds in which another process was at work on it, and no sooner."""
    both = Processes()
    await both.one.get()
    await both.two.get()
    caches, gate = [both.one.config.cache, both.two.config.cache], asyncio.Event()

    async def late() -> int:
        await gate.wait()
        return 1

    async def soon() -> int:
        return 2

    first = asyncio.create_task(caches[0].get_or_set("key", late, ttl=10))
    await settle_down()
    second = asyncio.create_task(caches[1].get_or_set("key", soon, ttl=10))
    await both.pass_by(4.9)
    assert not second.done()
    await both.pass_by(0.2)
    assert second.done()
    gate.set()
    assert (await first, await second) == (1, 2)


async def test_who_fails_to_make_a_value_gives_its_lead_back() -> None:
    """So that another process leads at once."""
    both = Processes()
    await both.one.get()
    await both.two.get()

    async def fail() -> int:
        raise RuntimeError("no")

    async def make() -> int:
        return 1

    with pytest.raises(RuntimeError):
        await both.one.config.cache.get_or_set("key", fail, ttl=10)
    await settle_down()
    other = asyncio.create_task(both.two.config.cache.get_or_set("key", make, ttl=10))
    await settle_down()
    assert other.done()
    assert await other == 1
