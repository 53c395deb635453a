"""Invalidation: by writing calls, by unsafe methods, and by code."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from forecourt import Cache, EndpointPolicy, ForecourtError, JobConfig
from tests.callers import settle_down
from tests.layers.records import Records

TAGGED = EndpointPolicy(cache=Cache(ttl=60, tags={"record:{record_id}", "records"}, stale_while_revalidate=30))
WRITING = EndpointPolicy(invalidates={"record:{record_id}"})


async def runs(records: Records, path: str = "/records/1") -> int:
    """Ask once and return how often the handler has run."""
    await records.get(path)
    return records.runs


async def test_a_tag_is_invalidated_by_code() -> None:
    """What has the tag is gone when it returns; what has another stays."""
    records = Records(TAGGED)
    assert (await runs(records), await runs(records, "/records/2")) == (1, 2)
    await records.config.cache.invalidate("record:1")
    assert (await runs(records), await runs(records, "/records/2")) == (3, 3)
    await records.config.cache.invalidate({"records", "others"})
    assert (await runs(records), await runs(records, "/records/2")) == (4, 5)
    await records.config.cache.invalidate([])
    assert await runs(records) == 5


async def test_a_soft_purge_makes_stale() -> None:
    """It is given once more while it is refreshed, within its window."""
    records = Records(TAGGED)
    await records.get()
    await records.config.cache.invalidate("record:1", soft=True)
    assert (await records.get()).body == b"run 1"
    await settle_down()
    assert (await records.get()).body == b"run 2"


def test_the_handle_says_when_it_is_too_early() -> None:
    """Before the app has started there is nothing to invalidate."""
    config = JobConfig()
    assert repr(config.cache) == "<CacheHandle before the start>"
    with pytest.raises(ForecourtError, match="once the app has started"):
        asyncio.run(config.cache.invalidate("a"))


@pytest.mark.parametrize(("status", "gone"), [(200, True), (303, True), (400, False), (500, False)])
async def test_a_write_invalidates_below_400(status: int, gone: bool) -> None:
    """Only handlers that succeed change anything."""
    records = Records(
        EndpointPolicy(cache=Cache(ttl=60, tags={"record:{record_id}"})),
        writes=WRITING,
        answer=lambda _, run: Response(f"run {run}", 200 if run else status),
    )
    await records.get()
    await records.get(method="PUT")
    assert await runs(records) == (2 if gone else 1)


async def test_an_unsafe_method_invalidates_its_own_path() -> None:
    """As RFC 9111 §4.4 says.

    RFC 9111 §4.4: "A cache MUST invalidate the target URI when it receives a non-error status code in response to
    an unsafe request method", whatever the query; other paths stay.
    """
    records = Records(EndpointPolicy(cache=Cache(ttl=60)))
    assert [await runs(records, path) for path in ("/records/1", "/records/1?a", "/records/2")] == [1, 2, 3]
    await records.get(method="PUT")
    assert [await runs(records, path) for path in ("/records/1", "/records/1?a", "/records/2")] == [4, 5, 5]


@pytest.mark.parametrize(
    ("location", "gone"),
    [("/records/2", True), ("2", True), ("http://test/records/2", True), ("http://other/records/2", False)],
)
@pytest.mark.parametrize("field", ["location", "content-location"])
async def test_so_are_the_paths_it_names(field: str, location: str, gone: bool) -> None:
    """RFC 9111 §4.4: Location and Content-Location, "if they have the same origin"."""

    def answer(request: Request, run: int) -> Response:
        return Response(f"run {run}", headers={} if run else {field: location})

    records = Records(EndpointPolicy(cache=Cache(ttl=60)), answer=answer)
    await runs(records, "/records/2")
    await records.get(method="PUT")
    assert await runs(records, "/records/2") == (2 if gone else 1)


async def test_a_fill_that_met_an_invalidation_is_invalid() -> None:
    """The handler read before the write; its answer arrives after, and is given to nobody else."""
    records = Records(TAGGED)
    records.go_on.clear()
    early = asyncio.create_task(records.get())
    await settle_down()
    await records.config.cache.invalidate("record:1")
    records.go_on.set()
    assert (await early).body == b"run 1"
    assert (await records.get()).body == b"run 2"


async def test_who_waited_for_an_answer_that_was_invalidated_runs() -> None:
    """A follower that came before the write may not be given less than one who asks for itself."""
    records = Records(TAGGED)
    records.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(2)]
    await settle_down()
    await records.config.cache.invalidate("record:1")
    late = asyncio.create_task(records.get())
    await settle_down()
    records.go_on.set()
    await asyncio.gather(*calls)
    assert (await late).body != b"run 1"


async def test_a_cancelled_write_invalidates() -> None:
    """Nobody knows whether it had written."""
    records = Records(TAGGED, writes=WRITING)
    await records.get()
    gate = asyncio.Event()

    async def held(request: Request) -> Response:
        await gate.wait()
        return Response()

    records.write = held
    write = asyncio.create_task(records.get(method="PUT"))
    await settle_down()
    write.cancel()
    await asyncio.gather(write, return_exceptions=True)
    assert await runs(records) == 2


async def test_values_are_kept_too() -> None:
    """`get_or_set`: made once, for as long as it says, until a tag is invalidated; what comes back is a copy."""
    records = Records(TAGGED)
    await records.get()
    made: list[int] = []

    async def make() -> dict[str, int]:
        made.append(1)
        await asyncio.sleep(0)
        return {"number": len(made)}

    async def value() -> dict[str, int]:
        return await records.config.cache.get_or_set("key", make, ttl=10, tags="records")

    assert await asyncio.gather(*[value() for _ in range(9)]) == [{"number": 1}] * 9
    (await value())["number"] = 9
    assert await value() == {"number": 1}
    records.clock.advance(10)
    assert await value() == {"number": 2}
    await records.config.cache.invalidate("records")
    assert await value() == {"number": 3}


async def test_values_that_cannot_be_kept() -> None:
    """Bytes stay bytes; what has no JSON is a TypeError; what `fn` raises is raised to all, and the next one tries."""
    records = Records(TAGGED)
    await records.get()
    cache = records.config.cache

    async def give(value: object) -> object:
        return value

    async def fail() -> object:
        raise RuntimeError("no")

    assert await cache.get_or_set("bytes", lambda: give(b"\xff"), ttl=1) == b"\xff"
    assert await cache.get_or_set("bytes", fail, ttl=1) == b"\xff"
    with pytest.raises(TypeError, match="has no JSON"):
        await cache.get_or_set("object", lambda: give(object()), ttl=1)
    with pytest.raises(RuntimeError):
        await cache.get_or_set("other", fail, ttl=1)
    assert await cache.get_or_set("other", lambda: give([1]), ttl=1) == [1]


async def test_who_saw_three_makers_fail_makes_its_own() -> None:
    """It waits for nobody any more, and what it makes is kept by nobody."""
    records = Records(TAGGED)
    await records.get()
    cache, gate, made = records.config.cache, asyncio.Event(), list[int]()

    async def make() -> int:
        made.append(1)
        number = len(made)
        await gate.wait()
        await settle_down()  # all who waited are here
        if number < 4:
            raise RuntimeError("no")
        return number

    calls = [asyncio.create_task(cache.get_or_set("key", make, ttl=1)) for _ in range(4)]
    await settle_down()
    gate.set()
    *failed, last = await asyncio.gather(*calls, return_exceptions=True)
    assert ([type(each) for each in failed], last) == ([RuntimeError] * 3, 4)
    assert await cache.get_or_set("key", make, ttl=1) == 5
