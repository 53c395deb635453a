"""Revocation: what was revoked does not count any more, whoever has seen it before; streams end with their caller."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from forecourt import (
    EndpointPolicy,
    Extra,
    FixedWindow,
    JobConfig,
    PolicyMiddleware,
    Revocations,
    Security,
    StoreDown,
)
from forecourt.exchange import exchange_of
from forecourt.layers.ending import EVERY
from forecourt.revocations import DAY
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.stores.failover import FailoverStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock, FakeIssuer
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send
from tests.asgi import call, http, websocket
from tests.auth.service import Guarded, challenges, problem
from tests.callers import Caller, settle_down
from tests.servers import STARTING, Cluster
from tests.services import text

ISSUER = "https://issuer.example"
on_both = pytest.mark.parametrize("stores", ["memory", pytest.param("valkey", marks=pytest.mark.valkey)], indirect=True)


class Counting:
    """A store that counts its trips, and can be down."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.trips: list[list[str]] = []
        self.down = False

    async def open(self) -> None:
        """Open it."""
        await self.store.open()

    async def close(self) -> None:
        """Close it."""
        await self.store.close()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Ask it, and note the kinds of questions."""
        self.trips.append([question.kind for question in questions])
        if self.down:
            raise StoreDown("down")
        return await self.store.decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell it."""
        await self.store.settle(settlements)


@pytest.fixture
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Counting]:
    """A store of the test's kind that counts its trips."""
    if request.param == "memory":
        yield Counting(MemoryStore(FakeClock()))
        return
    served = RedisStore(Client(request.getfixturevalue("valkey").url, deadline=5))
    await served.open()
    yield Counting(served)
    await served.close()


def limited(**config: object) -> Guarded:
    """Build a service of three calls a minute that asks for revocations."""
    policy = EndpointPolicy(security=Security(), rate_limit=FixedWindow(limit=3, window=60))
    return Guarded(policy=policy, revocation=True, **config)  # type: ignore[arg-type]  # the config's words


@on_both
async def test_a_revoked_token_is_refused_in_the_one_trip(stores: Counting) -> None:
    """401, though it was seen before; the limits are asked in the same trip and consume nothing of the refused."""
    service = limited(store=stores)
    revocations = Revocations(stores, clock=service.clock)
    token, other = service.token(jti="one"), service.token(jti="two")
    assert (await service.bearing(token)).status == 200
    await revocations.revoke_token(ISSUER, "one")
    for _ in range(3):
        answer = await service.bearing(token)
        assert (answer.status, problem(answer)) == (401, "invalid-credentials")
        assert 'error="invalid_token", error_description="the token was revoked"' in challenges(answer)[0]
    assert [(await service.bearing(other)).status for _ in range(3)] == [200, 200, 429]
    assert stores.trips == [["revoked", "revoked", "fixed_window"]] * 7


@pytest.mark.valkey
async def test_a_revocation_holds_on_a_cluster(valkey_cluster: Cluster) -> None:
    """Whatever slots token, subject and limit are in, for every process; the refused consume nothing of the limit."""
    policy = EndpointPolicy(security=Security(), rate_limit=FixedWindow(limit=4, window=3600))
    async with on_cluster(valkey_cluster) as store, on_cluster(valkey_cluster) as other:
        first = Guarded(policy=policy, revocation=True, store=store)
        second = Guarded(policy=policy, revocation=True, store=other, issuer=first.issuer)
        revocations = Revocations(store, clock=first.clock)
        tokens = [first.token(jti=name, subject=f"caller {name}") for name in ("one", "two", "three", "four")]
        for service in (first, second):
            assert [(await service.bearing(token)).status for token in tokens] == [200] * 4
        await revocations.revoke_token(ISSUER, "one")
        await revocations.revoke_subject(ISSUER, "caller two")
        for service in (first, second):
            assert [(await service.bearing(token)).status for token in tokens] == [401, 401, 200, 200]
        another = first.token(jti="five", subject="caller one")
        assert [(await second.bearing(another)).status for _ in range(3)] == [200, 200, 429]


@pytest.mark.valkey
async def test_with_a_cluster_down_nobody_can_tell(valkey_cluster: Cluster) -> None:
    """503 for who was revoked and who was not; once it is back, as before."""
    async with on_cluster(valkey_cluster, deadline=0.5) as store:
        service = Guarded(revocation=True, store=store)
        good, revoked = service.token(jti="good"), service.token(jti="revoked")
        await Revocations(store, clock=service.clock).revoke_token(ISSUER, "revoked")
        for node in valkey_cluster.nodes:
            node.stall()
        for token in (good, revoked):
            answer = await service.bearing(token)
            assert (answer.status, problem(answer)) == (503, "store-unavailable")
        for node in valkey_cluster.nodes:
            node.resume()
        answers: list[int] = []
        async with asyncio.timeout(STARTING):
            while answers != [200, 401]:
                answers = [(await service.bearing(token)).status for token in (good, revoked)]
                assert set(answers) <= {200, 401, 503}
                assert answers[1] != 200
                await asyncio.sleep(0.01)


@asynccontextmanager
async def on_cluster(cluster: Cluster, deadline: float = 2) -> AsyncIterator[RedisStore]:
    """Open a store of a process on a cluster."""
    store = RedisStore(Client(cluster.url, deadline=deadline))
    await store.open()
    yield store
    await store.close()


@on_both
async def test_a_subject_is_revoked_up_to_an_instant(stores: Counting) -> None:
    """What was issued until then is refused, what comes later counts; others' tokens too."""
    service = limited(store=stores)
    revocations = Revocations(stores, clock=service.clock)
    before = service.token(jti=None)
    undated = service.token(iat=None, jti=None)
    await revocations.revoke_subject(ISSUER, "alice")
    await revocations.revoke_subject(ISSUER, "alice", before=1_600_000_000)
    service.clock.advance(1)
    statuses = [
        (await service.bearing(token)).status
        for token in (before, undated, service.token(), service.token(subject="bob", iat=1_600_000_000))
    ]
    assert statuses == [401, 401, 200, 200]


async def test_what_cannot_be_an_instant_is_refused() -> None:
    """Neither an instant before time, nor a revocation that is forgotten at once."""
    revocations = Revocations(MemoryStore())
    with pytest.raises(ValueError, match="is no instant"):
        await revocations.revoke_subject(ISSUER, "alice", before=-1)
    with pytest.raises(ValueError, match="must be a number of seconds above 0"):
        await revocations.revoke_token(ISSUER, "one", keep=0)


async def test_a_revocation_is_forgotten_when_its_tokens_are_gone() -> None:
    """After `keep` seconds, to the microsecond; revoking again keeps it longer, never shorter."""
    service = limited()
    revocations = Revocations(service.store, clock=service.clock)
    await revocations.revoke_token(ISSUER, "one", keep=2 * DAY)
    await revocations.revoke_token(ISSUER, "one", keep=1)
    service.clock.advance(2 * DAY - 0.000001)
    assert (await service.bearing(service.token(jti="one"))).status == 401
    service.clock.advance(0.000001)
    assert (await service.bearing(service.token(jti="one"))).status == 200


async def test_with_the_store_down_nobody_can_tell() -> None:
    """503, by failure policy as well as without one; and a call without revocation asks nothing at all."""
    for wrapped in (False, True):
        inner = Counting(MemoryStore())
        store: Store = FailoverStore(inner, MemoryStore()) if wrapped else inner
        service = limited(store=store)
        inner.down = True
        assert (await service.bearing(service.token())).status == 503
    quiet = Counting(MemoryStore())
    service = Guarded(store=quiet)
    assert (await service.bearing(service.token())).status == 200
    assert quiet.trips == []


class Streaming:
    """A service with an event stream and a WebSocket that go on for ever."""

    def __init__(self, *, revocation: bool = False, stubborn: bool = False) -> None:
        self.cancelled = 0
        self.stubborn = stubborn
        routes = (Route("/events", self._events, name="events"), Route("/plain", self._plain, name="plain"))
        self.service = Guarded(None, *routes, revocation=revocation)
        self.go_on = asyncio.Event()

    async def begin(self, path: str, token: str) -> Caller:
        """Begin a call with a token."""
        scope = websocket(path) if path == "/echo" else http(path)
        scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {token}".encode())]
        caller = Caller(self.service.app, scope)
        await settle_down()
        return caller

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.service.clock.advance(seconds)
        await settle_down()

    async def _events(self, _: Request) -> Response:
        return StreamingResponse(self._said(), media_type="text/event-stream")

    async def _plain(self, _: Request) -> Response:
        return StreamingResponse(self._said(), media_type="text/plain")

    async def _said(self) -> AsyncIterator[str]:
        yield "data: one\n\n"
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            if not self.stubborn:
                raise
        yield "data: two\n\n"


@pytest.mark.parametrize("stubborn", [False, True])
async def test_an_event_stream_ends_with_its_token(stubborn: bool) -> None:
    """At `exp` and leeway, as one that is complete; an app that goes on all the same says nothing more."""
    streaming = Streaming(stubborn=stubborn)
    caller = await streaming.begin("/events", streaming.service.token())
    await streaming.advance(3609.999999)
    assert not caller.task.done()
    await streaming.advance(0.000001)
    answer = await caller.end()
    assert answer.body == b"data: one\n\n"
    assert answer.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert streaming.cancelled == 1


async def test_a_websocket_ends_with_its_token() -> None:
    """It is closed with 1008."""
    streaming = Streaming()
    caller = await streaming.begin("/echo", streaming.service.token())
    await streaming.advance(3610)
    await caller.end()
    assert caller.answer.messages[-1] == {"type": "websocket.close", "code": 1008, "reason": "Not Authenticated"}


@pytest.mark.parametrize("path", ["/events", "/echo"])
async def test_a_stream_ends_when_its_token_is_revoked(path: str) -> None:
    """Within `EVERY` seconds; a store that does not answer ends nothing."""
    streaming = Streaming(revocation=True)
    service = streaming.service
    caller = await streaming.begin(path, service.token(jti="one"))
    await streaming.advance(EVERY)
    assert not caller.task.done()
    await Revocations(service.store, clock=service.clock).revoke_token(ISSUER, "one")
    await streaming.advance(EVERY - 0.000001)
    assert not caller.task.done()
    await streaming.advance(0.000001)
    await caller.end()


async def test_a_stream_bears_a_store_that_is_down() -> None:
    """It goes on, and is asked for again."""
    streaming = Streaming(revocation=True)
    caller = await streaming.begin("/events", streaming.service.token())
    real = streaming.service.store.decide

    async def down(_: Sequence[Question]) -> list[Answer]:
        raise StoreDown("down")

    streaming.service.store.decide = down  # type: ignore[method-assign, assignment]  # the store goes away under the stream
    await streaming.advance(EVERY)
    assert not caller.task.done()
    streaming.service.store.decide = real  # type: ignore[method-assign]  # and comes back
    await streaming.advance(3610)
    await caller.end()


async def test_other_responses_go_on_to_their_end() -> None:
    """They were asked for in time; and a stream that ends by itself leaves nothing behind."""
    streaming = Streaming()
    plain, events = [await streaming.begin(path, streaming.service.token()) for path in ("/plain", "/events")]
    await streaming.advance(3609)
    streaming.go_on.set()
    assert (await events.end()).body.endswith(b"two\n\n")
    assert (await plain.end()).body.endswith(b"two\n\n")
    late = await Streaming().begin("/plain", streaming.service.token())
    await late.cancel()


@pytest.mark.parametrize("path", ["/events", "/echo"])
async def test_a_server_that_gives_up_is_not_held_back(path: str) -> None:
    """A cancellation from outside goes on to the outside."""
    streaming = Streaming()
    caller = await streaming.begin(path, streaming.service.token())
    await caller.cancel()
    assert caller.task.cancelled()


async def test_a_token_that_ended_before_the_stream_began() -> None:
    """A handler that is slow to answer begins a stream that ends at once."""
    go_on = asyncio.Event()

    async def slow(socket: WebSocket) -> None:
        await go_on.wait()
        await socket.accept()
        await asyncio.Event().wait()

    service = Guarded(None, WebSocketRoute("/slow", slow, name="slow"))
    scope = websocket("/slow")
    scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {service.token()}".encode())]
    caller = Caller(service.app, scope)
    await settle_down()
    service.clock.advance(3610)
    go_on.set()
    await caller.end()
    assert caller.answer.kinds == ["websocket.accept", "websocket.close"]
    assert service.clock.now() == 1_700_003_610 * SECOND


async def test_what_a_stream_does_after_its_end_is_not_cut_off() -> None:
    """Its last message has left when its token expires: what the app still does it does to its end."""
    after: list[str] = []
    go_on = asyncio.Event()

    async def afterwards() -> None:
        await go_on.wait()
        after.append("done")

    async def said() -> AsyncIterator[str]:
        yield "data: one\n\n"

    async def short(_: Request) -> Response:
        return StreamingResponse(said(), media_type="text/event-stream", background=BackgroundTask(afterwards))

    service = Guarded(None, Route("/short", short, name="short"))
    scope = http("/short", headers=[(b"authorization", f"Bearer {service.token()}".encode())])
    caller = Caller(service.app, scope)
    await settle_down()
    assert caller.answer.messages[-1]["more_body"] is False
    service.clock.advance(3610)
    await settle_down()
    go_on.set()
    answer = await caller.end()
    assert (answer.body, after) == (b"data: one\n\n", ["done"])


async def test_a_websocket_that_the_app_denies_is_not_watched() -> None:
    """The app's own answer to the handshake is no stream: it goes on to its end, whatever becomes of the token."""
    go_on = asyncio.Event()

    async def denies(socket: WebSocket) -> None:
        await socket.send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        await go_on.wait()
        await socket.send({"type": "websocket.http.response.body", "body": b"not you"})

    service = Guarded(None, WebSocketRoute("/denied", denies, name="denied"))
    scope = websocket("/denied")
    scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {service.token()}".encode())]
    caller = Caller(service.app, scope)
    await settle_down()
    service.clock.advance(3610)
    await settle_down()
    go_on.set()
    answer = await caller.end()
    assert (answer.status, answer.body) == (403, b"not you")
    assert answer.kinds == ["websocket.http.response.start", "websocket.http.response.body"]


async def test_a_layer_of_ones_own_is_still_told_how_a_stream_begins() -> None:
    """Whoever listened before auth did hears of the response too, and listens on when the call is over."""
    begun: list[str] = []

    class Listening:
        """Stands above auth."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            exchange = exchange_of(scope)
            exchange.begins = self.hear
            await self.app(scope, receive, send)
            assert exchange.begins == self.hear

        def hear(self, message: Message) -> None:
            begun.append(message["type"])

    clock = FakeClock()
    issuer = FakeIssuer(clock=clock, algorithm="HS256")
    config = JobConfig(default=EndpointPolicy(security=Security()), issuers=[issuer.policy])
    app = Starlette(routes=[Route("/", text, name="text")])
    above = Extra("security", lambda app, _: Listening(app))
    app.add_middleware(PolicyMiddleware, config=config, clock=clock, extra=[above])
    scope = http("/", headers=[(b"authorization", f"Bearer {issuer.token()}".encode())])
    assert (await call(app, scope)).status == 200
    assert begun == ["http.response.start"]
