"""Exactly one server span, named after the route, whoever else traces."""

from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec

import pytest
from fastapi import FastAPI
from opentelemetry import baggage, trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.utils import suppress_http_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from forecourt import (
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    PolicyMiddleware,
    Retry,
    Telemetry,
    Tracing,
    TracingMiddleware,
)
from forecourt.config_databases import Spent
from forecourt.telemetry.otel import HEADERS, outgoing
from forecourt.types import Message, Receive, Scope, Send
from tests.asgi import Answer, call, get, http, websocket
from tests.observing import Seen, sdk
from tests.services import echo, starlette, text

SAID = "what it says".upper()
QUIET = EndpointPolicy(metrics="off", logging="off")
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Return what an SDK that samples everything records."""
    with sdk(monkeypatch) as everything:
        yield everything


async def breaks(_: Request) -> Response:
    """Break."""
    raise ValueError(SAID)


async def test_a_request_is_one_span_named_after_its_route(seen: Seen) -> None:
    """Method and template, the stable conventions' attributes, and the endpoint; no spans of messages."""
    app = starlette(JobConfig(default=QUIET), Route("/records/{record_id}", text, name="record"))
    await call(app, {**http("/records/7"), "query_string": b"q=hush"})
    span = seen.server()
    assert (span.name, span.kind) == ("GET /records/{record_id}", SpanKind.SERVER)
    attributes = dict(span.attributes or {})
    assert attributes["http.route"] == "/records/{record_id}"
    assert attributes["forecourt.endpoint"] == "record"
    assert attributes["http.request.method"] == "GET"
    assert attributes["http.response.status_code"] == 200
    assert attributes["url.path"] == "/records/7"
    assert attributes["url.query"] == "REDACTED"
    assert "http.method" not in attributes
    assert sorted(each.name for each in seen.all()) == ["GET /records/{record_id}", "record"]


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize("method", ["GET", "ODD"])
async def test_the_span_says_what_the_middleware_says(seen: Seen, method: str, status: int) -> None:
    """Whether a request passes the middleware or not: the same name, attributes, status and kind."""

    async def answers(_: Request) -> Response:
        return PlainTextResponse("said", status)

    route = Route("/records/{record_id}", answers, name="record", methods=[method])
    scope = {**http("/records/7", method, headers=[(b"user-agent", b"a browser")]), "query_string": b"q=hush"}
    for passed in (False, True):
        config = JobConfig(default=QUIET, telemetry=Telemetry(message_spans=passed))
        await call(starlette(config, route), dict(scope))
    ours, theirs = seen.servers()
    mine, known = dict(ours.attributes or {}), dict(theirs.attributes or {})
    known.pop("http.request.method_original", None)  # any word: it is not repeated
    assert mine == known
    assert (ours.name, ours.status.status_code) == (theirs.name, theirs.status.status_code)


async def test_captured_headers_pass_the_middleware(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment variables name headers to capture: it captures them."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-color")
    app = starlette(JobConfig(default=QUIET), Route("/", text, name="work"))
    await call(app, http("/", headers=[(b"x-color", b"blue")]))
    assert (seen.server().attributes or {})["http.request.header.x_color"] == ("blue",)


async def test_trailers_end_the_span(seen: Seen) -> None:
    """A response with trailers is over after them."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send({"type": "http.response.body"})
        assert not seen.all()
        await send({"type": "http.response.trailers", "headers": []})
        assert len(seen.servers()) == 1

    await get(TracingMiddleware(app, JobConfig(default=QUIET)), "/")


async def test_the_handlers_span_is_inside(seen: Seen) -> None:
    """It is the child of the server's, and absent where the policy says so."""
    plain = EndpointPolicy(tracing=Tracing(handler=False), metrics="off", logging="off")
    config = JobConfig(default=QUIET, endpoints={"plain": plain})
    app = starlette(config, Route("/", text, name="work"), Route("/plain", text, name="plain"))
    await get(app, "/")
    server, inner = seen.all()
    assert inner.parent is not None
    assert (inner.parent.span_id, inner.kind) == (server.context.span_id, SpanKind.INTERNAL)
    await get(app, "/plain")
    assert [span.name for span in seen.all()[2:]] == ["GET /plain"]


async def test_what_no_route_matches_is_named_by_its_method(seen: Seen) -> None:
    """A path is no name, nor a word that no one knows a method by."""
    app = starlette(JobConfig(default=QUIET), Route("/", text, name="work"))
    await get(app, "/nowhere")
    await get(app, "/nowhere", "HUSH")
    assert [span.name for span in seen.servers()] == ["GET", "HTTP"]


async def test_decisions_are_events(seen: Seen) -> None:
    """What each layer decided is on the span, refusals by the limit's name."""
    limit = FixedWindow(limit=1, window=60, name="calls")
    policy = EndpointPolicy(rate_limit=limit, metrics="off", logging="off")
    app = starlette(JobConfig(default=policy), Route("/", text, name="work"))
    await get(app, "/")
    await get(app, "/")
    first, second = seen.servers()
    assert [event.name for event in first.events] == ["rate_limit allowed"]
    (event,) = second.events
    assert dict(event.attributes or {}) == {
        "forecourt.layer": "rate_limit",
        "forecourt.outcome": "refused",
        "forecourt.detail": "calls",
    }
    assert (second.attributes or {})["http.response.status_code"] == 429
    assert second.status.status_code is not StatusCode.ERROR


@pytest.mark.parametrize("words", [False, True])
async def test_a_failure_is_recorded_without_what_it_says(seen: Seen, words: bool) -> None:
    """Type and place are on the span; the exception's words only where the config wants them."""
    config = JobConfig(default=QUIET, telemetry=Telemetry(exception_messages=words))
    with pytest.raises(ValueError, match=SAID):
        await get(starlette(config, Route("/", breaks, name="breaks")), "/")
    span = seen.server()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert (span.attributes or {})["http.response.status_code"] == 500
    (event,) = [event for event in span.events if event.name == "exception"]
    assert "in breaks" in str((event.attributes or {})["exception.stacktrace"])
    assert (SAID in seen.text()) is words


async def test_a_failure_after_the_first_byte_keeps_its_status(seen: Seen) -> None:
    """The span has the status that was sent, and the error."""

    async def breaking(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"1"
            raise ValueError

        return StreamingResponse(chunks())

    with pytest.raises(ValueError):  # noqa: PT011  # the app's own
        await get(starlette(JobConfig(default=QUIET), Route("/", breaking, name="breaking")), "/")
    span = seen.server()
    assert (span.attributes or {})["http.response.status_code"] == 200
    assert (span.attributes or {})["error.type"] == "ValueError"


async def test_the_callers_trace_and_baggage_go_on(seen: Seen) -> None:
    """W3C headers are the parent, whatever else is current; what goes out of a handler carries both on."""
    sent: dict[str, str] = {}

    async def calls(_: Request) -> Response:
        sent.update(outgoing())
        assert baggage.get_baggage("tenant") == "blue"
        return PlainTextResponse("done")

    app = starlette(JobConfig(default=QUIET), Route("/", calls, name="calls"))
    await call(app, http("/", headers=[(b"traceparent", CALLER.encode()), (b"baggage", b"tenant=blue")]))
    server, inner = seen.all()
    assert server.parent is not None
    assert f"{server.parent.span_id:x}" == "b7ad6b7169203331"
    assert sent["traceparent"] == f"00-0af7651916cd43dd8448eb211c80319c-{inner.context.span_id:016x}-01"
    assert sent["baggage"] == "tenant=blue"
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_caller_that_samples_nothing_is_followed(seen: Seen) -> None:
    """A parent that is not sampled makes spans that are not either."""
    app = starlette(JobConfig(default=QUIET), Route("/", text, name="work"))
    await call(app, http("/", headers=[(b"traceparent", (CALLER[:-1] + "0").encode())]))
    assert seen.all() == []


async def test_sampled_off_nothing_is_recorded_and_the_context_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The middleware is passed by, and what goes out says that nobody records."""
    sent: dict[str, str] = {}

    async def calls(_: Request) -> Response:
        sent.update(outgoing())
        return PlainTextResponse("done")

    with sdk(monkeypatch, ALWAYS_OFF) as nothing:
        await get(starlette(JobConfig(default=QUIET), Route("/", calls, name="calls")), "/")
        assert nothing.all() == []
    assert int(sent["traceparent"][-2:], 16) & 1 == 0


async def test_without_an_sdk_nothing_is_begun() -> None:
    """No provider, no span, no context."""
    inside: list[object] = []

    async def looks(_: Request) -> Response:
        inside.append(trace.get_current_span())
        return PlainTextResponse("done")

    assert (await get(starlette(JobConfig(default=QUIET), Route("/", looks, name="looks")), "/")).status == 200
    assert inside == [trace.INVALID_SPAN]


def fastapi(config: JobConfig) -> FastAPI:
    """Build a FastAPI app under the stack."""
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)

    @app.get("/records/{record_id}")
    async def get_record(record_id: int) -> dict[str, int]:
        return {"id": record_id}

    return app


async def test_fastapis_own_telemetry_stands_back(seen: Seen) -> None:
    """It finds OpenTelemetry's middleware by following `.app`, and begins no span of its own."""
    app = fastapi(JobConfig(default=QUIET))
    await get(app, "/records/7")
    assert seen.server().name == "GET /records/{record_id}"
    layer: object = app.middleware_stack
    found = []
    while layer is not None:
        found.append(type(layer))
        layer = getattr(layer, "app", None)
    assert found.count(OpenTelemetryMiddleware) == 1


@pytest.mark.skipif(find_spec("fastapi.telemetry") is None, reason="this FastAPI has no telemetry of its own")
async def test_fastapis_own_telemetry_traces_where_we_do_not(seen: Seen) -> None:
    """With tracing off everywhere, the middleware is not there, and FastAPI's native span is."""
    await get(fastapi(JobConfig(default=EndpointPolicy(tracing="off", metrics="off", logging="off"))), "/records/7")
    (span,) = seen.servers()
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "fastapi"


async def test_beside_the_fastapi_instrumentation_there_is_one_span(seen: Seen) -> None:
    """A server span that is current already is taken: it gets our events and the endpoint, and no child of ours."""
    app = fastapi(JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=5, window=60), logging="off")))
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    try:
        await get(app, "/records/7")
    finally:
        FastAPIInstrumentor.uninstrument_app(app)
    span = seen.server()
    assert span.name == "GET /records/{record_id}"
    assert (span.attributes or {})["forecourt.endpoint"] == "get_record"
    assert [event.name for event in span.events] == ["rate_limit allowed"]


async def test_a_span_around_us_is_named_where_nobody_named_it(seen: Seen) -> None:
    """OpenTelemetry's own middleware outside of ours knows no routes: we do."""
    inner = starlette(JobConfig(default=QUIET), Route("/records/{record_id}", text, name="record"))
    app = OpenTelemetryMiddleware(inner, exclude_spans=["receive", "send"])
    await get(app, "/records/7")
    assert seen.server().name == "GET /records/{record_id}"


async def test_a_failure_inside_a_span_around_us_is_recorded_there(seen: Seen) -> None:
    """And it goes on to whoever began that span."""
    app = OpenTelemetryMiddleware(starlette(JobConfig(default=QUIET), Route("/", breaks, name="breaks")))
    with pytest.raises(ValueError, match=SAID):
        await get(app, "/")
    assert (seen.server().attributes or {})["error.type"] == "ValueError"


async def test_mounted_apps_have_one_span(seen: Seen) -> None:
    """An app with a stack of its own, mounted in another: the outer one's span, with the full template."""
    inner = starlette(JobConfig(default=QUIET), Route("/records/{record_id}", text, name="record"))
    outer = starlette(JobConfig(default=QUIET), Mount("/v1", inner, name="v1"))
    assert (await get(outer, "/v1/records/7")).status == 200
    assert seen.server().name == "GET /v1/records/{record_id}"


async def test_a_clients_span_around_us_is_a_parent(seen: Seen) -> None:
    """A caller in the same process is no server: ours is begun inside its span."""
    app = starlette(JobConfig(default=QUIET), Route("/", text, name="work"))
    tracer = trace.get_tracer("a client")
    with tracer.start_as_current_span("calling", kind=SpanKind.CLIENT) as calling:
        await get(app, "/")
    parent = seen.server().parent
    assert parent is not None
    assert parent.span_id == calling.get_span_context().span_id


async def test_a_websocket_is_one_span(seen: Seen) -> None:
    """From the handshake to the close."""
    await call(starlette(JobConfig(default=QUIET), WebSocketRoute("/echo", echo, name="echo")), websocket("/echo"))
    assert seen.server().name == "GET /echo"


async def test_spans_of_messages_where_they_are_wanted(seen: Seen) -> None:
    """`message_spans` brings back what the instrumentation does by default."""
    config = JobConfig(default=QUIET, telemetry=Telemetry(message_spans=True))
    await get(starlette(config, Route("/", text, name="work")), "/")
    names = [span.name for span in seen.all()]
    assert names.count("GET / http send") == 2
    assert len(seen.servers()) == 1


async def test_exclusions_hold(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is off, a URL of the instrumentation's list, and suppressed instrumentation have no span."""
    monkeypatch.setenv("OTEL_PYTHON_ASGI_EXCLUDED_URLS", "health,ready")
    config = JobConfig(default=QUIET, endpoints={"off": EndpointPolicy(tracing="off")})
    routes = [Route(f"/{name}", text, name=name) for name in ("off", "health", "seen")]
    app = starlette(config, *routes)
    for name in ("off", "health", "seen"):
        await get(app, f"/{name}")
    with suppress_http_instrumentation():
        await get(app, "/seen")
    assert [span.name for span in seen.servers()] == ["GET /seen"]


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_EXCLUDED_URLS", "OTEL_PYTHON_ASGI_EXCLUDED_URLS"])
async def test_urls_are_excluded_as_the_instrumentation_does(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Its variable for all instrumentations holds, and the one of its own; each is a list of expressions."""
    monkeypatch.setenv(variable, "/client/.*/info, healthcheck")
    routes = [Route(path, text, name=path[1:]) for path in ("/client/{id}/info", "/healthcheck", "/client/{id}")]
    app = starlette(JobConfig(default=QUIET), *routes)
    for path in ("/client/7/info", "/healthcheck", "/client/7"):
        assert (await get(app, path)).status == 200
    assert [span.name for span in seen.servers()] == ["GET /client/{id}"]


_CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"


@pytest.mark.parametrize(
    "variables",
    [
        {"SERVER_REQUEST": "content-type,CUStom_request_header"},
        {"SERVER_REQUEST": "Accept.*,X-.*"},
        {"SERVER_REQUEST": ".*"},
        {"SERVER_RESPONSE": "content-type,CUStom_response_header"},
        {"SERVER_RESPONSE": "Content.*,X-.*"},
        {"SERVER_REQUEST": ".*", "SERVER_RESPONSE": ".*", "SANITIZE_FIELDS": ".*session.*,set-cookie"},
    ],
)
async def test_headers_are_captured_as_the_instrumentation_does(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """The examples of its documentation say the same of a request whether it stands alone or in the stack."""
    for name, value in variables.items():
        monkeypatch.setenv(_CAPTURE + name, value)
    fields = ("content-type", "accept-language", "x-color", "x-session-id", "custom_request_header")
    asked = http("/", headers=[(name.encode(), b"of the request") for name in fields])
    given = {"x-shape": "round", "x-session-id": "s", "set-cookie": "a=b", "custom_response_header": "c"}

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("done", headers=given)(scope, receive, send)

    own = TracingMiddleware(answers, JobConfig(default=QUIET))
    alone = OpenTelemetryMiddleware(answers, exclude_spans=["receive", "send"])
    for app in (own, alone):
        await call(app, dict(asked))
    ours, theirs = (
        {key: value for key, value in (span.attributes or {}).items() if ".header." in key} for span in seen.servers()
    )
    assert ours == theirs
    assert ours


async def test_mounted_fastapi_apps_have_one_span(seen: Seen) -> None:
    """FastAPI in FastAPI and in Starlette, each with telemetry of its own where it has any: the outer stack's span."""
    for outer in (FastAPI(), Starlette()):
        inner = fastapi(JobConfig(default=QUIET))
        outer.add_middleware(PolicyMiddleware, config=JobConfig(default=QUIET))
        outer.mount("/v1", inner, name="v1")
        assert (await get(outer, "/v1/records/7")).status == 200
    assert [span.name for span in seen.servers()] == ["GET /v1/records/{record_id}"] * 2


async def test_a_mounted_stack_in_an_app_without_one_has_the_span(seen: Seen) -> None:
    """Where only the mounted app has our stack and the outer one traces nothing, the span is ours."""
    outer = Starlette(routes=[Mount("/v1", fastapi(JobConfig(default=QUIET)), name="v1")])
    assert (await get(outer, "/v1/records/7")).status == 200
    assert len(seen.servers()) == 1


async def test_time_on_databases_is_a_span_without_values(seen: Seen) -> None:
    """Inside the handler's: the database, the operation and the statement's text; what failed is an error."""
    config = JobConfig(default=QUIET)

    async def asks(_: Request) -> Response:
        config.statements.tell(Spent("work", "main", "select", "ok", 1_000, 500, "select * from t where id = ?"))
        config.statements.tell(Spent("work", "main", "report", "failed", 2_000, 500))
        return PlainTextResponse("done")

    await get(starlette(config, Route("/", asks, name="work")), "/")
    select, report = (span for span in seen.all() if span.kind is SpanKind.CLIENT)
    assert (select.name, select.start_time, select.end_time) == ("select main", 1_000, 1_500)
    named = {"db.namespace": "main", "db.operation.name": "select"}
    assert dict(select.attributes or {}) == {**named, "db.query.text": "select * from t where id = ?"}
    assert (report.name, report.status.status_code) == ("report main", StatusCode.ERROR)
    assert "db.query.text" not in (report.attributes or {})


async def test_time_on_databases_outside_of_a_trace_is_no_span(seen: Seen) -> None:
    """A statement of a task in the background belongs to no request."""
    config = JobConfig(default=QUIET)
    app = starlette(config, Route("/", text, name="work"))
    await get(app, "/")
    config.statements.tell(Spent("", "main", "select", "ok", 1_000, 500))
    assert not [span for span in seen.all() if span.kind is SpanKind.CLIENT]


async def test_what_a_call_cost_is_on_its_span(seen: Seen) -> None:
    """A decision with a number says it."""
    config = JobConfig(default=QUIET.model_copy(update={"retry": Retry(backoff=0)}))
    answers = iter([503, 200])

    async def flaky(_: Request) -> Response:
        return PlainTextResponse("said", next(answers))

    await get(starlette(config, Route("/", flaky, name="work")), "/")
    (event,) = (each for each in seen.server().events if each.name == "retry attempt")
    assert (event.attributes or {})["forecourt.amount"] == 2


async def test_a_request_by_a_socket_of_this_machine_says_what_it_knows(seen: Seen) -> None:
    """A Unix socket has no port, and its clients have no addresses."""
    app = starlette(JobConfig(default=QUIET), Route("/", text, name="work"))
    await call(app, {**http("/"), "server": ("/run/app.sock", None), "client": None})
    attributes = seen.server().attributes or {}
    assert attributes["server.address"] == "/run/app.sock"
    assert not {"server.port", "client.address", "client.port"} & set(attributes)


async def test_a_span_that_is_none_is_nobodys(seen: Seen) -> None:
    """A current span of no trace, as some libraries leave one, keeps no request from having its own."""
    app = starlette(JobConfig(default=QUIET), Route("/", text, name="work"))
    with trace.use_span(trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)):
        await get(app, "/")
    assert seen.server().parent is None


def test_propagators_may_look_through_all_headers() -> None:
    """Those that know no name beforehand are told the names that came."""
    assert HEADERS.keys(http("/", headers=[(b"x-a", b"1"), (b"x-b", b"2")])) == ["host", "x-a", "x-b"]


async def test_alone_it_is_a_middleware(seen: Seen) -> None:
    """Under an app of its own config."""
    app = Starlette(
        routes=[Route("/", text, name="work")],
        middleware=[Middleware(TracingMiddleware, config=JobConfig(default=QUIET))],
    )
    await get(app, "/")
    assert seen.server().name == "GET /"


async def test_an_app_that_breaks_is_answered_once(seen: Seen) -> None:
    """The exception passes the middleware by and reaches the errors layer: one 500."""
    answer = Answer()

    async def send(message: Message) -> None:
        answer.messages.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    with pytest.raises(ValueError, match=SAID):
        await starlette(JobConfig(default=QUIET), Route("/", breaks, name="breaks"))(http("/"), receive, send)
    assert answer.status == 500
    assert len(seen.servers()) == 1
