"""The stack as an app's middleware: whose policy is enforced, what is answered, how it starts and stops."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from forecourt import (
    ConfigError,
    Encryption,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    FloodGuardMiddleware,
    JobConfig,
    Maintenance,
    PolicyMiddleware,
    RateLimitMiddleware,
    TokenBucket,
)
from forecourt.exchange import Exchange
from forecourt.routing import RouteTable
from forecourt.stores.contract import Answer, Settlement
from forecourt.testing import FakeClock
from forecourt.types import Message, Receive, Scope, Send
from tests.asgi import call, get, http, websocket
from tests.layers.sealed import Vault
from tests.services import TWO_A_MINUTE, echo, starlette, text


def every_shape() -> FastAPI:
    """Build an app that has a route of each shape."""
    app = FastAPI()

    @app.get("/direct")
    async def direct() -> str:
        return "done"

    inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")

    @outer.get("/included")
    async def included() -> str:
        return "done"

    @inner.get("/nested/{number}")
    async def nested(number: int) -> str:
        return "done"

    outer.include_router(inner)
    app.include_router(outer)
    app.mount("/mounted", Starlette(routes=[Route("/here", text, name="here")]), name="mounted")
    app.add_api_websocket_route("/socket", echo, name="socket")
    return app


@pytest.mark.parametrize(
    "scope",
    [
        http("/direct"),
        http("/outer/included"),
        http("/outer/inner/nested/7"),
        http("/mounted/here"),
        http("/mounted/here", "HEAD"),
        websocket("/socket"),
        websocket("/socket", denial=False),
    ],
    ids=["direct", "included", "nested", "mounted", "head", "websocket", "websocket-close"],
)
async def test_two_a_minute_hold_for_routes_of_every_shape(scope: Scope) -> None:
    """The third call within a minute is refused, wherever its route stands."""
    app = every_shape()
    app.add_middleware(PolicyMiddleware, config=JobConfig(default=TWO_A_MINUTE))
    first, second, third = [await call(app, dict(scope)) for _ in range(3)]
    for admitted in (first, second):
        assert admitted.kinds[0] == ("websocket.accept" if scope["type"] == "websocket" else "http.response.start")
    if scope["type"] == "http":
        assert [first.status, second.status, third.status] == [200, 200, 429]
    elif scope["extensions"]:
        assert third.status == 429
    else:
        assert third.messages == [{"type": "websocket.close", "code": 1013, "reason": "Too Many Requests"}]


async def test_each_endpoint_has_its_own_policy_and_its_own_count() -> None:
    """One endpoint's limit says nothing of another's, and `off` switches the default off."""
    config = JobConfig(
        default=TWO_A_MINUTE,
        endpoints={
            "one": EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60)),
            "free": EndpointPolicy(rate_limit="off"),
        },
    )
    app = starlette(config, *(Route(f"/{name}", text, name=name) for name in ("one", "two", "free")))
    statuses = {name: [(await get(app, f"/{name}")).status for _ in range(3)] for name in ("one", "two", "free")}
    assert statuses == {"one": [200, 429, 429], "two": [200, 200, 429], "free": [200, 200, 200]}


async def test_limits_of_one_name_share_a_bucket() -> None:
    """Two endpoints that name the same limit spend from the same bucket."""
    shared = EndpointPolicy(rate_limit=FixedWindow(limit=2, window=60, name="shared"))
    app = starlette(JobConfig(default=shared), Route("/a", text, name="a"), Route("/b", text, name="b"))
    assert [(await get(app, path)).status for path in ("/a", "/b", "/a")] == [200, 200, 429]


async def test_two_apps_share_nothing() -> None:
    """Each config has a store of its own, in one process."""
    apps = [starlette(JobConfig(default=TWO_A_MINUTE), Route("/", text, name="t")) for _ in range(2)]
    assert [(await get(app, "/")).status for app in apps for _ in range(2)] == [200, 200, 200, 200]


async def test_clients_are_counted_apart() -> None:
    """Anonymous callers are told apart by address; nobody falls into a shared bucket."""
    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", text, name="t"))
    assert [(await get(app, "/", client=f"192.0.2.{last}")).status for last in range(9)] == [200] * 9


async def test_a_stream_has_one_start() -> None:
    """Chunks pass one by one under one `http.response.start` that carries the fields."""

    async def stream(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"%d" % number

        return StreamingResponse(chunks())

    answer = await get(starlette(JobConfig(default=TWO_A_MINUTE), Route("/", stream, name="s")), "/")
    assert answer.kinds == ["http.response.start", *["http.response.body"] * 4]
    assert answer.headers["ratelimit"] == '"fixed_window";r=1;t=60'


async def test_server_sent_events_pass_as_they_come() -> None:
    """The first event leaves before the second exists: nothing is buffered."""
    sent = asyncio.Event()
    order: list[str] = []

    async def events(_: Request) -> Response:
        async def each() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await sent.wait()
            order.append("second made")
            yield b"data: 2\n\n"

        return StreamingResponse(each(), media_type="text/event-stream")

    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", events, name="events"))

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message.get("body") == b"data: 1\n\n":
            order.append("first sent")
            sent.set()

    await app(http("/"), receive, send)
    assert order == ["first sent", "second made"]


async def test_routes_added_later_are_covered() -> None:
    """A route added after the first request has the default's policy."""
    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", text, name="first"))
    await get(app, "/")
    app.router.routes.append(Route("/later", text, name="later"))
    assert [(await get(app, "/later")).status for _ in range(3)] == [200, 200, 429]


async def test_a_route_added_later_that_no_policy_names_fails_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a default, a route that came after the start is refused, not let through; the others go on."""
    app = starlette(JobConfig(endpoints={"first": TWO_A_MINUTE}), Route("/", text, name="first"))
    await get(app, "/")
    app.router.routes.append(Route("/later", text, name="later"))
    assert [(await get(app, "/later")).status, (await get(app, "/")).status] == [500, 200]
    assert any('"later"' in record.getMessage() for record in caplog.records)


def test_a_config_that_does_not_fit_stops_the_start() -> None:
    """The server is told in words that name the endpoint and the nearest one there is."""
    app = starlette(JobConfig(endpoints={"get_recrod": TWO_A_MINUTE}), Route("/", text, name="get_record"))
    with pytest.raises(ConfigError, match=r"get_recrod.*get_record"), TestClient(app):
        pass


async def test_without_lifespan_the_first_request_says_so() -> None:
    """Where the server sends no lifespan, the first request opens and checks, and fails closed each time."""
    app = starlette(JobConfig(endpoints={"get_recrod": TWO_A_MINUTE}), Route("/", text, name="get_record"))
    for _ in range(2):
        with pytest.raises(ConfigError, match="get_recrod"):
            await get(app, "/")


def test_an_app_may_start_again() -> None:
    """A second lifespan opens what the first closed; limits in memory are kept, as the store is the config's."""
    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", text, name="t"))
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/").status_code == 200
    with TestClient(app) as client:
        assert client.get("/").status_code == 429


async def test_first_requests_at_once_compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the same opening finds the work done: a thousand at once cost one compilation."""
    compiled = 0
    compile_ = RouteTable.compile

    def counted(*args: object) -> RouteTable:
        nonlocal compiled
        compiled += 1
        return compile_(*args)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(RouteTable, "compile", counted)
    app = starlette(JobConfig(default=EndpointPolicy()), Route("/", text, name="text"))
    answers = await asyncio.gather(*(get(app, "/") for _ in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert compiled == 1


async def test_a_stack_inside_a_mount_opens_by_itself() -> None:
    """A mounted app receives no lifespan; a stack of another config inside has an exchange of its own."""
    inner = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", text, name="inner"))
    outer_config = JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=3, window=60)))
    app = starlette(outer_config, Mount("/in", inner, name="in"), Route("/out", text, name="out"))
    assert [(await get(app, "/in/")).status for _ in range(4)] == [200, 200, 429, 429]
    assert (await get(app, "/out")).status == 200


async def test_the_exchange_is_the_handlers_to_read() -> None:
    """`request.state.forecourt` is this request's exchange; outside it is the outer one again."""
    seen: list[Exchange] = []

    async def reads(request: Request) -> Response:
        seen.append(request.state.forecourt)
        return PlainTextResponse("done")

    scope = http("/a")
    scope["state"] = {"mine": 1}
    await call(starlette(JobConfig(default=EndpointPolicy()), Route("/{name}", reads, name="reads")), scope)
    (exchange,) = seen
    assert exchange.endpoint is not None
    assert (exchange.endpoint.name, exchange.params, exchange.client) == ("reads", {"name": "a"}, "192.0.2.1")
    assert scope["state"] == {"mine": 1}


async def test_layers_can_be_installed_one_by_one() -> None:
    """Each layer is a middleware of its own, in the stack's order; together they refuse what the stack refuses."""
    config = JobConfig(default=TWO_A_MINUTE, flood_guard=FloodGuard(limit=3, window=60))
    app = Starlette(
        routes=[Route("/", text, name="t")],
        middleware=[
            Middleware(FloodGuardMiddleware, config=config),
            Middleware(RateLimitMiddleware, config=config),
        ],
    )
    answers = [await get(app, "/") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429]
    assert ["ratelimit" in answer.headers for answer in answers] == [True, True, True, False]


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([FloodGuardMiddleware], "rate_limit"),
        ([RateLimitMiddleware, FloodGuardMiddleware], "'flood_guard' stands inside 'rate_limit'"),
    ],
)
def test_layers_that_are_missing_or_misplaced_stop_the_start(
    layers: list[type[FloodGuardMiddleware] | type[RateLimitMiddleware]], says: str
) -> None:
    """A policy without its layer, or layers in the wrong order, is an error that names both."""
    config = JobConfig(default=TWO_A_MINUTE, flood_guard=FloodGuard(limit=3, window=60))
    app = Starlette(
        routes=[Route("/", text, name="t")], middleware=[Middleware(layer, config=config) for layer in layers]
    )
    with pytest.raises(ConfigError, match=says), TestClient(app):
        pass


def test_an_unknown_layer_is_named_with_the_nearest() -> None:
    """`layers=["rate_limits"]` says what was meant."""
    with pytest.raises(ConfigError, match="no layer 'rate_limits'; the nearest is 'rate_limit'"):
        PolicyMiddleware(Starlette(), JobConfig(default=TWO_A_MINUTE), layers=["rate_limits"])


async def test_any_asgi_app_by_patterns() -> None:
    """A bare function has no routes: the config gives them."""

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("done")(scope, receive, send)

    config = JobConfig(endpoints={"get_record": TWO_A_MINUTE}, routes={"get_record": "GET /records/{record_id:int}"})
    app = PolicyMiddleware(bare, config)
    assert [(await get(app, f"/records/{number}")).status for number in range(3)] == [200, 200, 429]
    assert (await get(app, "/other")).status == 200


async def test_other_scopes_pass() -> None:
    """What is neither HTTP, WebSocket nor lifespan is the app's alone."""
    seen: list[str] = []

    async def bare(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    app = PolicyMiddleware(bare, JobConfig(default=EndpointPolicy()))
    await call(app, {"type": "http.tunnel"})
    assert seen == ["http.tunnel"]


async def test_the_clock_is_an_argument() -> None:
    """With a clock of the test's own, time passes when the test says so."""
    clock = FakeClock()
    config = JobConfig(default=EndpointPolicy(rate_limit=TokenBucket(max_tokens=5, refill_rate=1)))
    app = starlette(config, Route("/", text, name="t"), clock=clock)
    answers = [await get(app, "/") for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert answers[-1].headers["retry-after"] == "1"
    clock.advance(0.999_999)
    assert (await get(app, "/")).status == 429
    clock.advance(0.000_001)
    assert (await get(app, "/")).status == 200


async def test_layers_with_nothing_to_settle_settle_nothing() -> None:
    """All that say so: the exchange does not ask them, and would hear nothing if it did."""
    told: dict[str, list[Settlement]] = {}

    def look(request: Request, _body: bytes) -> Response:
        exchange: Exchange = request.state.forecourt
        granted = [Answer("go", (1, 0, 0, 0), granted=True)]
        for layer in exchange.chain.askers:
            if not layer.settles:
                told[type(layer).__name__] = list(layer.settlements(exchange, granted))
        return PlainTextResponse("done")

    service = Vault(
        Encryption(response="required"),
        answer=look,
        config={"revocation": True},
        maintenance=Maintenance(),
        rate_limit=FixedWindow(limit=2, window=60),
    )
    assert (await service.get()).status == 200
    names = ("AuthLayer", "AskedMaintenanceLayer", "RateLimitLayer", "EncryptionLayer")
    assert told == {name: [] for name in names}
