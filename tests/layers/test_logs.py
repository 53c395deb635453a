"""One line for each request, and what handlers' own lines carry."""

import asyncio
import contextvars
import io
import json
import logging
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from structlog.contextvars import get_contextvars

from forecourt import (
    EndpointPolicy,
    Exchange,
    FixedWindow,
    JobConfig,
    Logging,
    LoggingMiddleware,
    Principal,
    Telemetry,
)
from forecourt.principals import digest
from forecourt.telemetry.structured import RequestContext, configure_logging
from forecourt.testing import FakeClock
from forecourt.types import Message
from tests.asgi import Answer, call, get, http, websocket
from tests.callers import Caller
from tests.observing import lines
from tests.services import echo, starlette, text


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the file that the access log goes to."""
    return tmp_path / "access.log"


@pytest.fixture
def restored() -> Iterator[None]:
    """Have logging as it was, whatever a test configures."""
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, root.level = before
    structlog.reset_defaults()


FEW = {"few": EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60))}


def logged(
    log: Path, logging: Logging | None = None, endpoints: dict[str, EndpointPolicy] | None = None, **telemetry: object
) -> JobConfig:
    """Build a config that logs to this file."""
    fields = {"log_to": str(log), "log_format": "json", **telemetry}
    return JobConfig(
        default=EndpointPolicy(logging=logging or Logging(), tracing="off", metrics="off"),
        endpoints=endpoints or {},
        telemetry=Telemetry.model_validate(fields),
    )


async def test_a_request_is_one_line(log: Path) -> None:
    """It names the endpoint, never the path, says how it ended and what layers decided; refusals are at info."""
    app = starlette(logged(log, endpoints=FEW), Route("/few/{thing}", text, name="few"), clock=FakeClock())
    answer = await get(app, "/few/a-path")
    await get(app, "/few/a-path")
    await get(app, "/nowhere")
    first, second, third = lines(log)
    assert first.pop("duration_ms")
    assert first == {
        "timestamp": "2023-11-14T22:13:20.000000+00:00",
        "level": "info",
        "event": "request",
        "endpoint": "few",
        "method": "GET",
        "status": 200,
        "outcome": "ok",
        "request_id": answer.headers["x-request-id"],
        "decisions": {"rate_limit": "allowed"},
        "decided_ms": {"rate_limit": 0.0},
    }
    told = [(each["endpoint"], each["status"], each["outcome"], each["level"]) for each in (second, third)]
    assert told == [("few", 429, "refused", "info"), (None, 404, "client_error", "info")]
    assert "path" not in log.read_text("utf-8")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"abc-123", True),
        (b"a" * 128, True),
        (b"a" * 129, False),
        (b"with space", False),
        (b"line\nbreak", False),
        (b"", False),
        (b"-leading", False),
        ("é".encode(), False),
    ],
)
async def test_the_request_id_is_kept_where_it_is_well_formed(log: Path, sent: bytes, kept: bool) -> None:
    """What a caller sends becomes the id only if it can be nothing else; the answer always carries one."""
    app = starlette(logged(log), Route("/", text, name="work"))
    answer = await call(app, http("/", headers=[(b"x-request-id", sent)]))
    assert (answer.headers["x-request-id"].encode() == sent) is kept
    assert lines(log)[0]["request_id"] == answer.headers["x-request-id"]


async def test_a_failure_has_its_line_and_its_id(log: Path) -> None:
    """A request that breaks is one access line at info; the answer carries the id that the line has."""

    async def breaks(_: Request) -> Response:
        raise RuntimeError("what it says")

    app = starlette(logged(log), Route("/", breaks, name="breaks"))
    answer = Answer()

    async def send(message: Message) -> None:
        answer.messages.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    with pytest.raises(RuntimeError):
        await app(http("/"), receive, send)
    (line,) = lines(log)
    assert (line["status"], line["outcome"], line["level"]) == (500, "failed", "info")
    assert answer.headers["x-request-id"] == line["request_id"]
    assert "what it says" not in log.read_text("utf-8")


async def test_a_call_that_is_given_up_is_logged(log: Path) -> None:
    """Cancelled before any answer, it has no status."""

    async def waits(_: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    caller = await Caller.begin(starlette(logged(log), Route("/", waits, name="waits")))
    await caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller.task
    assert [(line["outcome"], line["status"]) for line in lines(log)] == [("cancelled", None)]


async def test_a_call_that_is_dropped_ends_quietly(log: Path) -> None:
    """Its coroutine is closed outside of the context it ran in, as when its loop is gone."""

    async def waits(_: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = starlette(logged(log), Route("/", text, name="text"), Route("/waits", waits, name="waits"))
    await get(app, "/")

    async def silent(*_: object) -> Any:
        raise AssertionError

    calling = cast("Coroutine[object, None, None]", app(http("/waits"), silent, silent))
    contextvars.copy_context().run(calling.send, None)
    calling.close()
    assert [line["outcome"] for line in lines(log)] == ["ok", "failed"]


async def test_successes_can_be_sampled_away_and_nothing_else(log: Path) -> None:
    """With a sample of 0 no success is logged, and every refusal is."""
    app = starlette(logged(log, Logging(sample=0)), Route("/", text, name="work"))
    await get(app, "/")
    await get(app, "/nowhere")
    assert [line["status"] for line in lines(log)] == [404]


async def test_some_successes_are_logged(log: Path) -> None:
    """With a sample of a half about half of them are."""
    app = starlette(logged(log, Logging(sample=0.5)), Route("/", text, name="work"))
    for _ in range(200):
        await get(app, "/")
    assert 50 < len(lines(log)) < 150


async def test_headers_are_logged_where_asked_and_never_secrets(log: Path) -> None:
    """Only those named; those known to carry secrets without their value; a method that nobody knows is OTHER."""
    app = starlette(logged(log, Logging(headers=["User-Agent", "X-Api-Key", "Cookie"])), Route("/", text, name="work"))
    sent = [(b"user-agent", b"a browser"), (b"x-api-key", b"hush"), (b"cookie", b"hush"), (b"x-more", b"hush")]
    await call(app, http("/", "HUSH", headers=sent))
    (line,) = lines(log)
    assert line["headers"] == {"user-agent": "a browser", "x-api-key": "[redacted]", "cookie": "[redacted]"}
    assert line["method"] == "OTHER"
    assert "hush" not in log.read_text("utf-8").lower()


@pytest.mark.parametrize(
    ("told", "principal"), [("hashed", digest("us", "alice")), ("plain", "us alice"), ("off", None)]
)
async def test_callers_are_hashed(log: Path, told: str, principal: str | None) -> None:
    """The principal is told by its digest, in full or not at all."""

    async def knows(request: Request) -> Response:
        exchange: Exchange = request.state.forecourt
        exchange.principal = Principal("us", "alice")
        return PlainTextResponse("done")

    await get(starlette(logged(log, principals=told), Route("/", knows, name="knows")), "/")
    assert lines(log)[0].get("principal") == principal


async def test_lines_are_the_same_without_orjson(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard library writes what orjson writes."""
    app = starlette(logged(log), Route("/", text, name="wörk"), clock=FakeClock())
    for _ in range(2):
        await call(app, http("/", headers=[(b"x-request-id", b"one")]))
        monkeypatch.setattr("forecourt.telemetry.structured._fast", None)
    one, two = [{**line, "duration_ms": 0} for line in lines(log)]
    assert one == two
    assert "wörk" in log.read_text("utf-8")


async def test_a_websocket_is_one_line(log: Path) -> None:
    """A conversation is one line when it is over."""
    await call(starlette(logged(log), WebSocketRoute("/echo", echo, name="echo")), websocket("/echo"))
    (line,) = lines(log)
    assert (line["endpoint"], line["method"], line["status"]) == ("echo", "WEBSOCKET", 101)


async def test_a_log_that_cannot_be_written_harms_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The request is answered; one warning says that the log cannot be written."""
    app = starlette(logged(tmp_path), Route("/", text, name="work"))
    assert (await get(app, "/")).status == 200
    assert [record.getMessage() for record in caplog.records] == ["the access log cannot be written: IsADirectoryError"]


async def test_without_a_configuration_lines_go_to_the_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """By default, JSON where no terminal reads; readable where the config says so; alone it is a middleware too."""
    quiet = EndpointPolicy(tracing="off", metrics="off")
    await get(starlette(JobConfig(default=quiet), Route("/", text, name="work")), "/")
    assert json.loads(capsys.readouterr().err)["endpoint"] == "work"
    config = JobConfig(default=quiet, telemetry=Telemetry(log_format="console", log_to="stdout"))
    await get(LoggingMiddleware(starlette(JobConfig(default=EndpointPolicy(logging="off"))), config), "/")
    told = capsys.readouterr().out
    assert "[info" in told
    assert "status=404" in told


async def test_an_apps_own_structlog_is_used(restored: None) -> None:
    """Where an app has configured structlog, access events go through its processors."""
    with structlog.testing.capture_logs() as captured:
        structlog.configure(processors=structlog.get_config()["processors"])
        await get(starlette(JobConfig(default=EndpointPolicy(tracing="off")), Route("/", text, name="work")), "/")
    assert [(event["event"], event["endpoint"], event["log_level"]) for event in captured] == [
        ("request", "work", "info")
    ]


async def test_handlers_lines_carry_the_request(log: Path, restored: None) -> None:
    """Structlog's loggers and the standard library's alike; secret fields are redacted; afterwards nothing is bound."""
    stream = io.StringIO()
    configure_logging("json", stream=stream)

    async def logs(_: Request) -> Response:
        structlog.get_logger().info("by structlog", password="hush", nested={"api_key": "hush", "page": [1]})
        logging.getLogger("app").warning("by %s", "logging")
        try:
            raise ValueError
        except ValueError:
            logging.getLogger("app").exception("caught")
        return PlainTextResponse("done")

    answer = await get(starlette(logged(log), Route("/", logs, name="logs")), "/")
    one, two, three = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in (one, two, three):
        assert (line["request_id"], line["endpoint"]) == (answer.headers["x-request-id"], "logs")
    assert (one["event"], one["password"]) == ("by structlog", "[redacted]")
    assert one["nested"] == {"api_key": "[redacted]", "page": [1]}
    assert (two["event"], two["level"], two["logger"]) == ("by logging", "warning", "app")
    assert "ValueError" in three["exception"]
    assert get_contextvars() == {}


async def test_a_console_reads_the_same(restored: None) -> None:
    """Everything in one readable form."""
    stream = io.StringIO()
    configure_logging("console", stream=stream)
    logging.getLogger("app").warning("a line")
    assert "a line" in stream.getvalue()


async def test_a_filter_puts_the_request_on_records(log: Path) -> None:
    """For those who keep their own handlers: a filter sets the fields that a format may name."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(request_id)s %(endpoint)s %(trace_id)s %(message)s"))
    handler.addFilter(RequestContext())
    own = logging.getLogger("of-the-test")
    own.addHandler(handler)

    async def logs(_: Request) -> Response:
        own.warning("inside")
        return PlainTextResponse("done")

    answer = await get(starlette(logged(log), Route("/", logs, name="logs")), "/")
    own.warning("outside")
    own.removeHandler(handler)
    assert stream.getvalue() == f"{answer.headers['x-request-id']} logs - inside\n- - - outside\n"


def test_a_line_that_cannot_be_made_is_told_by_the_standard_library(
    restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record whose arguments do not fit is reported as `logging` does, and raises nothing."""
    configure_logging("json", stream=io.StringIO())
    logging.getLogger("app").warning("%d", "no number")
    assert "--- Logging error ---" in capsys.readouterr().err
