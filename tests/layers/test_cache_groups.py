"""Cache groups (RFC 9875): answers say to which they belong, and unsafe ones which are no longer valid."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from forecourt import Cache, EndpointPolicy
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.asgi import Answer
from tests.callers import settle_down
from tests.layers.records import Records

POLICY = EndpointPolicy(cache=Cache(ttl=60))


def service(*, store: LanedStore | None = None, clock: FakeClock | None = None) -> Records:
    """Return a service whose answers are in the groups that the query says, and whose writes invalidate them."""

    def answer(request: Request, run: int) -> Response:
        said = request.url.query.replace("%22", '"')
        field = "cache-group-invalidation" if request.method in ("PUT", "POST") or not run else "cache-groups"
        fields = {field: said} if said else {}
        if request.headers.get("x-both"):
            fields["cache-group-invalidation"] = said
        return Response(f"run {run}", int(request.headers.get("x-status", "200")), headers=fields)

    return Records(POLICY, answer=answer, store=store, clock=clock)


def hit(answer: Answer) -> bool:
    """Tell whether it came from the cache."""
    return answer.headers["cache-status"].startswith("forecourt; hit")


HOST = (b"host", b"api.example")


async def test_a_group_is_invalidated_by_an_unsafe_answer() -> None:
    """§3: "stored responses associated with either or both of those groups should be invalidated"; others stay."""
    records = service()
    paths = ('/records/1?"a","b"', '/records/2?"b"', '/records/3?"c"', "/records/4", '/records/5?"B"')
    for expected in (False, True):
        assert [hit(await records.get(path, HOST)) for path in paths] == [expected] * 5
    await records.get('/records?"b", "x"', HOST, method="POST")
    assert [hit(await records.get(path, HOST)) for path in paths] == [False, False, True, True, True]


async def test_groups_are_of_an_origin() -> None:
    """§2.1: "They both share the same URI origin"; a port that is the scheme's own makes no other one."""
    records = service()
    hosts = [(b"host", host) for host in (b"api.example", b"other.example", b"api.example:8080")]
    for host in hosts:
        await records.get('/records/1?"a"', host)
    await records.get('/records?"a"', (b"host", b"API.example:80"), method="POST")
    assert [hit(await records.get('/records/1?"a"', host)) for host in hosts] == [False, True, True]


async def test_safe_methods_and_errors_invalidate_no_group() -> None:
    """§3: the field "MUST be ignored on responses to requests that have a safe method"; an error changed nothing."""
    records = service()
    await records.get('/records/1?"a"', HOST)
    await records.get('/records/2?"a"', HOST, (b"x-both", b"1"))
    await records.get('/records?"a"', HOST, (b"x-status", b"400"), method="POST")
    await records.get("/records?a", HOST, method="POST")
    assert hit(await records.get('/records/1?"a"', HOST))


async def test_an_invalidation_does_not_cascade() -> None:
    """§2.2.1: "further grouped invalidations are not triggered by a grouped invalidation"."""
    records = service()
    for path in ('/records/1?"a","b"', '/records/2?"b"'):
        await records.get(path, HOST)
    await records.get('/records?"a"', HOST, method="POST")
    assert not hit(await records.get('/records/1?"a","b"', HOST))
    assert hit(await records.get('/records/2?"b"', HOST))


async def test_an_answer_whose_groups_cannot_be_read_is_not_kept() -> None:
    """It could not be invalidated."""
    records = service()
    for _ in range(2):
        assert not hit(await records.get("/records/1?a", HOST))


async def test_a_fill_that_a_groups_invalidation_overtakes_is_invalid() -> None:
    """The handler had read before the write: its answer is given, and not kept."""
    records = service()
    records.go_on.clear()
    reading = asyncio.create_task(records.get('/records/1?"a"', HOST))
    await settle_down()
    await records.get('/records?"a"', HOST, method="POST")
    records.go_on.set()
    await reading
    assert not hit(await records.get('/records/1?"a"', HOST))


async def test_groups_over_a_shared_store() -> None:
    """Such answers are kept by each process, guarded by the log; an invalidation anywhere reaches all within 50 ms."""
    clock = FakeClock()
    shared = MemoryStore(clock)
    one, two = (service(store=LanedStore(MemoryStore(clock), shared), clock=clock) for _ in range(2))
    for records in (one, two):
        assert not hit(await records.get('/records/1?"a"', HOST))
        await settle_down()
        assert hit(await records.get('/records/1?"a"', HOST))
    await one.get('/records?"a"', HOST, method="POST")
    assert not hit(await one.get('/records/1?"a"', HOST))
    clock.advance(0.05)
    await settle_down()
    assert not hit(await two.get('/records/1?"a"', HOST))
