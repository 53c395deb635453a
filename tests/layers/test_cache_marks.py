"""No answer carries another caller's mark; the whole form is `tests/soak/cache_marks.py`."""

import pytest

from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.core.bench import examples
from tests.servers import Valkey
from tests.soak.cache_marks import ask, leaks
from tests.soak.marked import stack

REQUESTS = 40


async def test_marks_stay_apart_in_memory() -> None:
    """In one process; with every way that an answer can come, by a clock that goes on with each request.

    What is kept is of no use half a second after it was made: then the handler is asked because of a stale answer, and
    a new one is stored, unless it may not be.
    """
    clock = FakeClock()
    requests = max(50, examples(50)) * REQUESTS
    outcomes = await ask([stack("memory://", clock=clock)], requests, 1, lambda: clock.advance(0.005))
    assert leaks(outcomes) == []
    ways = {outcome.partition("; ")[2] for outcome in outcomes}
    assert {"hit", "fwd=miss; stored", "fwd=miss", "fwd=bypass", "fwd=miss; collapsed", "fwd=stale; stored"} <= ways


async def test_marks_stay_apart_over_a_shared_store() -> None:
    """In three stacks over one store."""
    shared = MemoryStore()
    apps = [stack("memory://", store=LanedStore(MemoryStore(), shared)) for _ in range(3)]
    assert leaks(await ask(apps, examples(50) * REQUESTS, seed=2)) == []


@pytest.mark.valkey
async def test_marks_stay_apart_on_a_server(valkey: Valkey) -> None:
    """In two stacks over a real one."""
    apps = [stack(valkey.url) for _ in range(2)]
    try:
        assert leaks(await ask(apps, examples(50) * REQUESTS, seed=3)) == []
    finally:
        for app in apps:
            await app._stop({})
