"""The cases in which idempotency libraries were found to run twice, to leak or to block for ever: each is right here.

In memory and on a real server. What a worker leaves that is killed while it works is in `tests/soak/idempotency_kills`,
what a store that is gone leaves in `test_idempotency_together`.
"""

from collections.abc import AsyncIterator

import pytest
from starlette.responses import PlainTextResponse, Response

from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from tests.asgi import Answer
from tests.callers import settle_down
from tests.layers.keyed import Keyed, problem
from tests.servers import Valkey, eventually


@pytest.fixture(params=["memory", pytest.param("valkey", marks=pytest.mark.valkey)])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Keyed]:
    """Run a service over this store."""
    if request.param == "memory":
        yield Keyed(store=MemoryStore())
        return
    server: Valkey = request.getfixturevalue("valkey")
    store = RedisStore(Client(server.url, deadline=5))
    await store.open()
    service = Keyed(store=store)
    yield service
    if service.exchange is not None:
        service.die()
    await store.close()


def replayed(answer: Answer) -> bool:
    """Whether an answer is one that was kept."""
    return answer.headers.get("idempotent-replayed") == "true"


async def test_another_callers_key(service: Keyed) -> None:
    """A key is its caller's: another's call with the same one runs, and nobody hears another's answer."""
    service.answer = PlainTextResponse("of one", 201)
    await service.post(client="192.0.2.1")
    service.answer = PlainTextResponse("of the other", 201)
    other = await service.post(client="192.0.2.2")
    assert (other.body, replayed(other), service.runs) == (b"of the other", False, 2)
    assert (await service.post(client="192.0.2.1")).body == b"of one"


@pytest.mark.parametrize(("path", "body"), [("/", b'{"other": 1}'), ("/?page=2", b"{}"), ("/other", b"{}")])
async def test_another_payload_or_path(service: Keyed, path: str, body: bytes) -> None:
    """Neither another body nor another query is answered with what was kept; another endpoint has keys of its own."""
    await service.post()
    again = await service.post(path=path, body=body)
    if path == "/other":
        assert (again.status, replayed(again), service.runs) == (201, False, 2)
    else:
        assert problem(again) == (422, "idempotency-key-reused")
        assert service.runs == 1


async def test_two_at_once(service: Keyed) -> None:
    """The second is told when to ask again, and then gets the first one's answer."""
    service.slow = True
    first = await service.begin()
    await eventually(lambda: service.runs == 1)
    second = await service.post()
    assert (problem(second), second.headers["retry-after"]) == ((409, "idempotency-in-progress"), "1")
    service.go_on.set()
    assert (await first.end()).status == 201
    assert replayed(await service.post())
    assert service.runs == 1


async def test_a_handler_that_crashes(service: Keyed) -> None:
    """The key is not 'in progress' for ever: nobody knows what was done, and that is said, without a Retry-After."""
    service.fails = RuntimeError("it failed")
    with pytest.raises(RuntimeError):
        await service.post()
    service.fails = None
    again = await service.post()
    assert problem(again) == (409, "idempotency-outcome-unknown")
    assert ("retry-after" in again.headers, service.runs) == (False, 1)


async def test_a_call_that_is_cancelled(service: Keyed) -> None:
    """The work goes on, runs once, and its answer waits for whoever asks again."""
    service.slow = True
    caller = await service.begin()
    await eventually(lambda: service.runs == 1)
    await caller.cancel()
    assert problem(await service.post()) == (409, "idempotency-in-progress")
    service.go_on.set()
    await settle_down()
    assert service.exchange is not None
    await service.exchange.runtime.works.drain()
    again = await service.post()
    assert (again.status, again.body, replayed(again), service.runs) == (201, b"made", True, 1)


async def test_an_answer_that_sets_a_cookie(service: Keyed) -> None:
    """It is kept, and never run twice; the cookie is for the first caller's connection alone. Location stays."""
    service.answer = PlainTextResponse("made", 201, {"location": "/records/1"})
    service.answer.set_cookie("session", "secret")
    assert "set-cookie" in (await service.post()).headers
    again = await service.post()
    assert (replayed(again), again.headers["location"], service.runs) == (True, "/records/1", 1)
    assert "set-cookie" not in again.headers


async def test_an_answer_that_is_no_json(service: Keyed) -> None:
    """Any bytes of any type are kept."""
    service.answer = Response(bytes(range(256)), media_type="application/octet-stream")
    first, again = await service.post(), await service.post()
    assert (again.body, again.headers["content-type"]) == (first.body, "application/octet-stream")
    assert (replayed(again), service.runs) == (True, 1)


async def test_a_stream(service: Keyed) -> None:
    """Its parts leave as they come, and are kept as one body."""
    service.go_on.set()
    assert (await service.post(path="/stream")).body == b"onetwo"
    again = await service.post(path="/stream")
    assert (again.body, replayed(again), service.runs) == (b"onetwo", True, 1)


async def test_an_answer_of_9_mib(service: Keyed) -> None:
    """It is not kept, and not made again: a tombstone says that it was carried out."""
    service.answer = Response(b"x" * (9 << 20), 201)
    assert len((await service.post()).body) == 9 << 20
    again = await service.post()
    assert problem(again) == (201, "idempotency-answer-not-kept")
    assert (replayed(again), service.runs) == (True, 1)


async def test_an_answer_of_5xx(service: Keyed) -> None:
    """What a failing handler did nobody knows: it is neither replayed as an answer nor run again."""
    service.answer = PlainTextResponse("broken", 500)
    assert (await service.post()).status == 500
    assert problem(await service.post()) == (409, "idempotency-outcome-unknown")
    assert service.runs == 1
