"""What the cache tells observers: each way that an answer can come has its word."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.responses import Response

from forecourt import Cache, EndpointPolicy
from forecourt.decisions import Decision
from forecourt.errors import StoreDown
from forecourt.exchange import Exchange
from forecourt.stores.contract import Answer, Question
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.callers import settle_down
from tests.layers.records import Records

KEPT = Cache(ttl=60, tags={"record:{record_id}"}, stale_while_revalidate=30, stale_if_error=300)


class Heard(Records):
    """Records whose decisions are written down."""

    def __init__(self, cache: Cache = KEPT, **config: object) -> None:
        self.heard: list[tuple[str, str]] = []
        writes = EndpointPolicy(invalidates={"record:{record_id}"})
        super().__init__(EndpointPolicy(cache=cache), writes=writes, on_decision=self.hear, **config)  # type: ignore[arg-type]  # the tests' own words

    def hear(self, _: Exchange, decision: Decision) -> None:
        """Write one down."""
        self.heard.append((decision.layer, decision.outcome))

    async def told(self, *fields: tuple[bytes, bytes], method: str = "GET") -> list[str]:
        """Make a request and return what was said of it."""
        self.heard.clear()
        await self.get("/records/1", *fields, method=method)
        return [outcome for layer, outcome in self.heard if layer in ("cache", "invalidates")]


async def test_a_miss_is_told_and_that_it_is_kept() -> None:
    """Then a hit, for HEAD too; and misses again once it is no longer fresh."""
    records = Heard(Cache(ttl=60))
    assert await records.told(method="HEAD") == ["miss"]
    assert await records.told() == ["miss", "stored"]
    assert await records.told() == await records.told(method="HEAD") == ["hit"]
    records.clock.advance(61)
    assert await records.told() == ["miss", "stored"]


@pytest.mark.parametrize("field", [(b"cookie", b"a=b"), (b"authorization", b"Basic YTpi")])
async def test_what_is_somebodys_own_is_bypassed(field: tuple[bytes, bytes]) -> None:
    """The cache does not look at it; methods that it has nothing to do with are no decision at all."""
    records = Heard()
    assert await records.told(field) == ["bypassed"]
    assert await records.told(method="PUT") == ["invalidated"]


async def test_a_request_that_wants_nothing_kept_bypasses_it() -> None:
    """`no-cache` asks the handler, whose answer is kept; `only-if-cached` is refused where there is none."""
    records = Heard()
    assert await records.told((b"cache-control", b"only-if-cached")) == ["refused"]
    assert await records.told() == ["miss", "stored"]
    assert await records.told((b"cache-control", b"no-cache")) == ["bypassed", "stored"]
    assert await records.told((b"cache-control", b"no-store")) == ["hit"]


async def test_what_may_not_be_kept_is_a_miss_alone() -> None:
    """Nothing is stored, however often it is asked for."""
    records = Heard(answer=lambda *_: Response("mine", headers={"cache-control": "private"}))
    assert await records.told() == await records.told() == ["miss"]


async def test_stale_answers_are_told() -> None:
    """While it is refreshed, and in place of a failure, which was asked for."""
    records = Heard()
    await records.told()
    records.clock.advance(61)
    assert await records.told() == ["stale"]
    await settle_down()
    records.clock.advance(100)
    records.fails = True
    assert await records.told() == ["miss", "stale"]
    records.fails = False
    records._answer = lambda *_: Response(status_code=503)
    assert await records.told() == ["miss", "stale"]


async def test_what_the_handler_confirms_is_revalidated() -> None:
    """Its 304 makes what is kept fresh again (RFC 9111 §4.3.4)."""
    answers = iter((Response("a", headers={"etag": '"1"'}), Response(status_code=304, headers={"etag": '"1"'})))
    records = Heard(Cache(ttl=60, profile="rfc9111"), answer=lambda *_: next(answers))
    await records.told()
    records.clock.advance(61)
    assert await records.told() == ["miss", "revalidated", "stored"]
    assert await records.told() == ["hit"]


async def test_whoever_waits_for_another_is_told_so() -> None:
    """Of two at once one makes the answer."""
    records = Heard()
    records.go_on.clear()
    both = [asyncio.create_task(records.get()) for _ in range(2)]
    await settle_down()
    records.go_on.set()
    await asyncio.gather(*both)
    assert sorted(outcome for _, outcome in records.heard) == ["collapsed", "miss", "stored"]


async def test_a_store_that_does_not_answer_is_told() -> None:
    """The handler runs, and it is a miss."""

    class Down(MemoryStore):
        """A store of entries that does not answer."""

        async def decide(self, questions: Sequence[Question]) -> list[Answer]:
            raise StoreDown("as told")

    clock = FakeClock()
    records = Heard(clock=clock, store=LanedStore(MemoryStore(clock), Down(clock)))
    assert await records.told() == ["degraded", "miss", "stored"]
