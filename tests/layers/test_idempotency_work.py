"""The handler at work under a claim: clients that leave, calls that are cancelled, streams, a service that ends."""

import asyncio
import logging

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from forecourt import EndpointPolicy, Idempotency, JobConfig, PolicyMiddleware
from forecourt.layers.idempotency_work import Recorder
from forecourt.stores.memory import MemoryStore
from forecourt.types import Message
from forecourt.works import Works
from tests.asgi import call, http
from tests.callers import settle_down
from tests.layers.keyed import Keyed, Poster


def keyed(path: str = "/") -> dict[str, object]:
    """Build the scope of a call with the first key."""
    return dict(http(path, "POST", headers=[(b"idempotency-key", b"k1")]))


async def test_a_client_that_leaves_does_not_stop_the_work() -> None:
    """The handler goes on, and its answer waits for the client's next try."""
    service = Keyed()
    service.slow = True
    caller = await service.begin()
    await caller.leave()
    assert (await service.post()).status == 409
    service.go_on.set()
    await caller.end()
    assert (await service.post()).headers["idempotent-replayed"] == "true"
    assert service.runs == 1


async def test_a_client_whose_connection_fails_does_not_stop_the_work() -> None:
    """A send that raises, as servers of ASGI 2.4 do, is a client that left: the answer is kept."""
    service = Keyed()
    caller = Poster(service.app, keyed())
    caller.broken = True
    await caller.end()
    assert caller.answer.messages == []
    again = await service.post()
    assert (again.body, again.headers["idempotent-replayed"]) == (b"made", "true")
    assert service.runs == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_call_leaves_its_work_to_the_end(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The claim is held and renewed as long as the work goes on; then its answer is kept, or it is unknown."""
    service = Keyed()
    service.slow = True
    caller = await service.begin()
    await caller.cancel()
    assert caller.task.cancelled()
    await service.advance(120)
    assert (await service.post()).status == 409
    service.fails = RuntimeError("it failed") if fails else None
    service.go_on.set()
    await settle_down()
    service.fails = None
    again = await service.post()
    if fails:
        assert (again.status, "retry-after" in again.headers) == (409, False)
        assert "endpoint 'work' failed after its caller had gone: RuntimeError" in caplog.text
    else:
        assert (again.status, again.headers["idempotent-replayed"]) == (201, "true")
    assert service.runs == 1


async def test_a_call_cancelled_before_its_handler_ran_frees_its_key() -> None:
    """The store had granted the claim, and nothing was done under it."""
    service = Keyed(on_unknown="block")
    service.slow = True
    first = await service.begin()
    assert service.exchange is not None
    layer = next(layer for layer in service.exchange.notes if hasattr(layer, "settlements"))
    told = list(layer.settlements(service.exchange, ()))
    assert [each.kind for each in told] == ["idempotency_forsake", "idempotency_keep"]
    claim = service.exchange.notes[layer]
    claim.work = None  # as it is before the handler has run
    told = list(layer.settlements(service.exchange, ()))
    assert [each.kind for each in told] == ["idempotency_release"]
    service.go_on.set()
    await first.end()


async def test_a_client_that_leaves_while_it_sends_is_heard() -> None:
    """A request that never came whole cannot be worked on: the handler hears so, and nobody knows what it did."""
    service = Keyed()
    caller = Poster(service.app, keyed(), parts=[b"half"])
    await settle_down()
    await caller.leave()
    with pytest.raises(ClientDisconnect):
        await caller.task
    assert (await service.post()).status == 409
    assert service.runs == 1


async def test_a_request_that_is_not_read_is_compared_all_the_same() -> None:
    """The rest of it is read before the last byte leaves; work after the answer is done too."""
    service = Keyed()
    await service.post(path="/deaf", body=b"one")
    assert service.after == 1
    assert (await service.post(path="/deaf", body=b"two")).status == 422
    assert (await service.post(path="/deaf", body=b"one")).headers["idempotent-replayed"] == "true"
    assert (service.runs, service.after) == (1, 1)


async def test_a_small_stream_is_kept() -> None:
    """Its parts leave as they come, and are one body in the replay."""
    service = Keyed()
    caller = await service.begin(path="/stream")
    assert caller.answer.body == b"one"
    service.go_on.set()
    await caller.end()
    again = await service.post(path="/stream")
    assert (again.body, again.headers["idempotent-replayed"]) == (b"onetwo", "true")


async def test_a_long_stream_leaves_a_tombstone() -> None:
    """Beyond `max_body` its parts leave all the same, and it is never run again."""
    service = Keyed(max_body=5)
    service.go_on.set()
    assert (await service.post(path="/stream")).body == b"onetwo"
    again = await service.post(path="/stream")
    assert b"idempotency-answer-not-kept" in again.body
    assert service.runs == 1


async def test_an_event_stream_ends_with_its_client_and_is_not_run_again() -> None:
    """It might never end: it hears that nobody listens."""
    service = Keyed(on_unknown="retry")
    caller = await service.begin(path="/events")
    await caller.leave()
    await caller.end()
    again = await service.post(path="/events")
    assert (again.status, b"idempotency-answer-not-kept" in again.body) == (200, True)
    assert service.runs == 1


async def test_a_cancelled_event_stream_ends() -> None:
    """Nothing is left at work."""
    service = Keyed()
    caller = await service.begin(path="/events")
    await caller.cancel()
    await settle_down()
    assert service.exchange is not None
    assert repr(service.exchange.runtime.works) == "<Works: 0 at work>"


async def test_the_answer_is_kept_before_its_last_byte_leaves() -> None:
    """Also where the last byte comes in a message that says more follows: the client asks again at once."""

    class Watched(MemoryStore):
        """Notes what was told when."""

        async def settle(self, settlements):  # type: ignore[no-untyped-def]  # as its parent
            kept.extend(each.kind for each in settlements)
            await super().settle(settlements)

    for path in ("/", "/deaf", "/stream", "/stream?known"):
        kept: list[str] = []
        service = Keyed(store=Watched())
        seen: list[tuple[bytes, bool, bool]] = []

        class Looking(Poster):
            """Notes what was kept when its bytes came."""

            async def _send(self, message: Message) -> None:
                if message["type"] == "http.response.body":
                    seen.append((message["body"], message.get("more_body", False), bool(kept)))  # noqa: B023

        service.go_on.set()
        scope = keyed(path.partition("?")[0])
        scope["query_string"] = path.partition("?")[2].encode()
        await Looking(service.app, scope).end()
        last = [each for each in seen if not each[1]]
        assert [each[2] for each in last] == [True]
        if path == "/stream?known":
            assert [each for each in seen if each[0] == b"two"] == [(b"two", False, True)]
        assert kept == ["idempotency_complete", "idempotency_keep"]


def recorded(*messages: Message, most: int = 10) -> Recorder:
    """Return what is recorded of these messages."""
    recorder = Recorder(most)
    for message in messages:
        recorder.see(message)
    return recorder


def test_what_is_recorded() -> None:
    """Messages that are none of the answer's, files sent by path or descriptor, trailers, and how each ends."""
    start: Message = {"type": "http.response.start", "status": 200, "headers": []}
    early: Message = {"type": "http.response.early_hint", "links": []}
    assert recorded(early).status is None
    path = recorded(start, {"type": "http.response.pathsend", "path": "/x"})
    assert (path.finished, path.whole) == (True, False)
    part: Message = {"type": "http.response.zerocopysend", "file": 3, "more_body": True}
    assert not recorded(start, part).finished
    trailers = recorded({**start, "trailers": True}, {"type": "http.response.body", "body": b"x"})
    assert (trailers.finished, trailers.whole) == (False, False)
    trailers.see({"type": "http.response.trailers", "headers": [], "more_trailers": True})
    assert [trailers.finished] == [False]
    trailers.see({"type": "http.response.trailers", "headers": []})
    assert [trailers.finished] == [True]
    announced = recorded({**start, "headers": [(b"Content-Length", b"11")]})
    assert not announced.whole
    assert recorded({**start, "headers": [(b"content-length", b"wrong")]}).whole


async def test_an_app_that_never_ends_its_answer() -> None:
    """What was held back for it leaves when it returns; what it did nobody knows."""

    async def endless(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok", "more_body": True})

    policy = EndpointPolicy(idempotency=Idempotency(key="client"))
    config = JobConfig(endpoints={"do": policy}, routes={"do": "POST /"})
    app = PolicyMiddleware(endless, config=config)
    caller = Poster(app, keyed())
    await caller.end()
    assert caller.answer.body == b"ok"
    again = Poster(app, keyed())
    assert (await again.end()).status == 409


async def test_the_end_of_a_service_waits_for_work() -> None:
    """Its answer is in the store when the service has ended."""
    service = Keyed()
    service.slow = True
    caller = await service.begin()
    await caller.cancel()
    assert service.exchange is not None
    ending = asyncio.ensure_future(service.exchange.runtime.stop())
    await settle_down()
    assert not ending.done()
    service.go_on.set()
    await ending
    assert (await service.post()).headers["idempotent-replayed"] == "true"


async def test_work_that_does_not_end_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """When patience has ended, and the log says so."""
    works = Works(patience=0.01)
    with caplog.at_level(logging.ERROR, "forecourt"):
        task = works.start(asyncio.sleep(100), "endpoint 'slow'")
        works.leave(task)
        await works.drain()
    assert task.cancelled()
    assert "endpoint 'slow' is cancelled: it is still at work 0.01 s after the end" in caplog.text


async def test_a_dead_worker_leaves_an_unknown_outcome() -> None:
    """Its key is 'in progress' for one lease and not a microsecond longer; a late answer of it is kept."""
    service = Keyed(lease=15)
    service.slow = True
    caller = await service.begin()
    service.die()
    service.clock.advance(14.999999)
    assert (await service.post()).headers["retry-after"] == "1"
    service.clock.advance(0.000001)
    assert "retry-after" not in (await service.post()).headers
    assert service.runs == 1
    service.go_on.set()
    await caller.end()
    assert (await service.post()).headers["idempotent-replayed"] == "true"


async def test_a_dead_workers_call_is_taken_over_where_the_policy_says_retry() -> None:
    """The second holder's answer stands; what the first says later is not heard."""
    service = Keyed(on_unknown="retry")
    service.slow = True
    caller = await service.begin()
    service.die()
    service.clock.advance(15)
    service.slow = False
    service.answer = PlainTextResponse("second", 201)
    assert (await service.post()).body == b"second"
    service.answer = Response("first", 200)
    service.go_on.set()
    assert (await caller.end()).body == b"first"
    assert (await service.post()).body == b"second"


async def test_renewals_tell_the_fingerprint() -> None:
    """A retry with another payload is refused even where the first holder died before its answer."""
    service = Keyed(on_unknown="retry")
    service.slow = True
    await service.begin(body=b"first")
    await service.advance(6)
    service.die()
    service.clock.advance(15)
    assert (await service.post(body=b"other")).status == 422
    service.slow = False
    assert (await service.post(body=b"first")).status == 201


async def test_two_hundred_racers_have_one_winner() -> None:
    """One runs; the others are told that it is at work."""
    service = Keyed()
    service.slow = True
    callers = [await service.begin() for _ in range(200)]
    service.go_on.set()
    statuses = [(await caller.end()).status for caller in callers]
    assert sorted(statuses) == [201] + [409] * 199
    assert service.runs == 1


async def test_a_client_that_leaves_during_its_replay_gets_nothing() -> None:
    """Its payload could not be compared."""
    service = Keyed()
    await service.post()
    caller = Poster(service.app, keyed(), parts=[b"{"])
    await settle_down()
    await caller.leave()
    assert (await caller.end()).messages == []


async def test_an_answer_without_a_fingerprint_is_replayed_to_any_payload() -> None:
    """Its caller was cancelled before its request was read, so there is nothing to compare with."""
    service = Keyed()
    caller = Poster(service.app, keyed("/deaf"), parts=[b"never whole"])
    caller._parts = []
    await settle_down()
    await caller.cancel()
    await caller.leave()
    again = await service.post(path="/deaf", body=b"x")
    assert (again.status, again.headers["idempotent-replayed"]) == (201, "true")


async def test_a_handler_that_listens_for_its_client_while_it_is_read_for() -> None:
    """A stream that never looked at its request: the listener and the reading of the rest share one line."""
    service = Keyed()
    service.go_on.set()
    caller = Poster(service.app, keyed("/stream"), parts=[b"a", b"b"])
    caller._more = False
    assert (await caller.end()).body == b"onetwo"
    assert (await service.post(path="/stream", body=b"ab")).headers["idempotent-replayed"] == "true"


async def test_a_client_that_leaves_between_answer_and_request() -> None:
    """The handler has answered, the rest of the request never comes: what was done is kept."""
    service = Keyed()
    caller = Poster(service.app, keyed("/deaf"), parts=[b"half"])
    await settle_down()
    assert caller.answer.body == b""
    await caller.leave()
    await caller.end()
    assert (await service.post(path="/deaf")).headers["idempotent-replayed"] == "true"


async def test_a_claim_is_renewed_while_its_request_comes() -> None:
    """A client that sends for longer than a lease keeps its key."""
    service = Keyed(lease=15)
    caller = Poster(service.app, keyed(), parts=[b"half"])
    await settle_down()
    await service.advance(60)
    assert (await service.post()).headers["retry-after"] == "1"
    await caller.cancel()
    await caller.leave()


async def test_who_receives_after_the_end_is_told_of_a_disconnect() -> None:
    """As servers tell it once a response is complete, though its client stays: some frameworks wait for that."""
    kinds: list[str] = []

    async def lingering(_: Scope, receive: Receive, send: Send) -> None:
        kinds.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"made"})
        kinds.append((await receive())["type"])

    config = JobConfig(
        endpoints={"make": EndpointPolicy(idempotency=Idempotency(key="client"))}, routes={"make": "POST /"}
    )
    app = PolicyMiddleware(lingering, config=config)
    answer = await call(app, http("/", "POST", headers=[(b"idempotency-key", b'"one"')]))
    assert (answer.status, kinds) == (201, ["http.request", "http.disconnect"])


async def test_who_listens_beside_the_answer_hears_nothing_before_its_end() -> None:
    """The rest of a request is read before the last byte; that the client then left waits until the answer is whole."""
    parts: asyncio.Queue[Message] = asyncio.Queue()
    takes, heard = asyncio.Event(), []

    async def receive() -> Message:
        return await parts.get()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await takes.wait()

    async def deaf(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        answering = asyncio.ensure_future(send({"type": "http.response.body", "body": b"done"}))
        await asyncio.sleep(0)  # it reads the rest of the request by now
        listening = asyncio.ensure_future(receive())
        listening.add_done_callback(lambda _: heard.append("listener"))
        await answering
        heard.append("answered")
        assert await listening == {"type": "http.disconnect"}

    policy = EndpointPolicy(idempotency=Idempotency(key="client"))
    app = PolicyMiddleware(deaf, config=JobConfig(endpoints={"do": policy}, routes={"do": "POST /"}))
    calling = asyncio.ensure_future(app(keyed(), receive, send))
    await settle_down()
    parts.put_nowait({"type": "http.request", "body": b"{}", "more_body": False})
    parts.put_nowait({"type": "http.disconnect"})
    await settle_down()
    assert (parts.empty(), heard) == (True, [])
    takes.set()
    await calling
    assert sorted(heard) == ["answered", "listener"]
