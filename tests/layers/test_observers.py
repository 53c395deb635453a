"""All observers together: everything is seen, nothing leaks, one failure is one error, and the hook is told."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forecourt import (
    ApiKeys,
    Cache,
    Concurrency,
    ConfigError,
    Decision,
    EndpointPolicy,
    Exchange,
    FixedWindow,
    JobConfig,
    Logging,
    PolicyMiddleware,
    Security,
    Telemetry,
    Tracing,
)
from forecourt.stores.contract import Answer as Decided
from forecourt.stores.contract import Question
from forecourt.stores.memory import MemoryStore
from forecourt.telemetry import extras
from forecourt.testing import FakeClock
from forecourt.types import SECOND, ASGIApp, Message
from tests.asgi import Answer, call, get, http
from tests.observing import Seen, lines, samples, scraped, sdk
from tests.services import starlette, text

SECRET = "hush-" + "7f3a9c"
"""In two pieces: a traceback shows lines of source."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Return what an SDK that samples everything records."""
    with sdk(monkeypatch) as everything:
        yield everything


async def told(app: ASGIApp, *, secret: str) -> Answer:
    """Make a call that carries a secret wherever a caller can put one."""
    answer = Answer()
    word = secret.encode()
    headers = [
        (b"authorization", b"Bearer " + word),
        (b"cookie", b"session=" + word),
        (b"x-api-key", word),
        (b"x-anything", word),
        (b"x-request-id", b"!" + word),
        (b"baggage", b"key=" + word),
    ]
    scope = {**http("/break", "POST", headers=headers), "query_string": b"token=" + word + b"&" + word}

    async def receive() -> Message:
        return {"type": "http.request", "body": word, "more_body": False}

    async def send(message: Message) -> None:
        answer.messages.append(message)

    with pytest.raises(RuntimeError):
        await app(scope, receive, send)
    return answer


async def breaks(request: Request) -> Response:
    """Break, and say everything that was told."""
    body = (await request.body()).decode()
    try:
        raise KeyError(body)
    except KeyError as error:
        group = ExceptionGroup(body, [ValueError(str(request.headers)), ValueError(str(request.url))])
        group.__cause__ = error
        raise RuntimeError(body, request.headers["authorization"]) from group


async def test_a_secret_is_seen_nowhere(seen: Seen, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Planted in headers, query, body, token and what exceptions say, it is in no log, span, metric or error body."""
    log = tmp_path / "log"
    policy = EndpointPolicy(
        rate_limit=FixedWindow(limit=1, window=60, key="header:x-api-key"),
        logging=Logging(headers=["authorization", "cookie", "x-api-key"]),
    )
    config = JobConfig(default=policy, telemetry=Telemetry(log_to=str(log), log_format="json"))
    app = starlette(config, Route("/break", breaks, name="breaks", methods=["POST"]))
    caplog.set_level(logging.DEBUG)
    answer = await told(app, secret=SECRET)
    assert answer.status == 500
    formatted = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    assert "KeyError" in formatted
    assert "in breaks" in formatted
    places = {
        "answer": repr(answer.messages),
        "standard log": formatted,
        "access log": log.read_text("utf-8"),
        "spans": seen.text(),
        "metrics": await scraped(config),
    }
    assert [place for place, what in places.items() if SECRET in what] == []
    assert "[redacted]" in places["access log"]


async def test_what_exceptions_say_is_logged_where_the_config_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    """`exception_messages` brings it back."""
    config = JobConfig(default=EndpointPolicy(logging="off"), telemetry=Telemetry(exception_messages=True))
    await told(starlette(config, Route("/break", breaks, name="breaks", methods=["POST"])), secret=SECRET)
    assert SECRET in "\n".join(logging.Formatter().format(record) for record in caplog.records)


async def test_one_failure_is_one_error_and_refusals_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A failing request gives exactly one error line; a thousand refused ones give no traceback and no error."""
    log = tmp_path / "log"
    policy = EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60))
    config = JobConfig(default=policy, telemetry=Telemetry(log_to=str(log), log_format="json"))
    app = starlette(config, Route("/break", breaks, name="breaks", methods=["POST"]), clock=FakeClock())
    caplog.set_level(logging.DEBUG, "forecourt")
    await told(app, secret=SECRET)
    (error,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (error.levelno, bool(error.exc_info)) == (logging.ERROR, True)
    caplog.clear()
    for _ in range(1000):
        assert (await get(app, "/break", "POST")).status == 429
    assert caplog.records == []
    outcomes = [line["outcome"] for line in lines(log)]
    assert outcomes == ["failed"] + ["refused"] * 1000
    assert "Traceback" not in log.read_text("utf-8")


async def test_the_hook_is_told_each_decision_when_it_is_made() -> None:
    """`on_decision` gets the exchange and the decision, with no observer installed too."""
    heard: list[tuple[str | None, str, str, str]] = []

    def hear(exchange: Exchange, decision: Decision) -> None:
        name = exchange.endpoint.name if exchange.endpoint else None
        heard.append((name, decision.layer, decision.outcome, decision.detail))

    policy = EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60), tracing="off", metrics="off", logging="off")
    app = starlette(JobConfig(default=policy, on_decision=hear), Route("/", text, name="work"))
    await get(app, "/")
    await get(app, "/")
    assert heard == [
        ("work", "rate_limit", "allowed", ""),
        ("work", "rate_limit", "refused", "fixed_window"),
    ]


async def test_a_hook_that_breaks_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged, without what it says; the request goes on."""

    def breaking(_exchange: Exchange, _decision: Decision) -> None:
        raise ValueError(SECRET)

    policy = EndpointPolicy(rate_limit=FixedWindow(limit=5, window=60))
    app = starlette(JobConfig(default=policy, on_decision=breaking), Route("/", text, name="work"))
    assert (await get(app, "/")).status == 200
    assert caplog.records[0].getMessage() == "on_decision failed: ValueError"
    assert SECRET not in caplog.text


async def test_nobody_listens_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all observers off and no hook, a decision is not even built."""
    monkeypatch.setattr("forecourt.decisions.Decision", None)
    policy = EndpointPolicy(rate_limit=FixedWindow(limit=5, window=60), tracing="off", metrics="off", logging="off")
    assert (await get(starlette(JobConfig(default=policy), Route("/", text, name="work")), "/")).status == 200


@pytest.mark.parametrize("field", ["tracing", "metrics", "logging"])
async def test_what_is_not_installed_is_off_unless_it_is_asked_for(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its extra an observer is silently absent by default; asked for by name it stops the start."""
    for module in ("forecourt.observers", "forecourt.config_policies", "forecourt.config_check"):
        monkeypatch.setattr(f"{module}.installed", lambda name: name != field)
    app = starlette(JobConfig(default=EndpointPolicy()), Route("/", text, name="work"))
    assert (await get(app, "/")).status == 200
    asked = JobConfig(default=EndpointPolicy.model_validate({field: True}))
    with pytest.raises(ConfigError, match=f"{field} of default: needs .*: pip install 'forecourt\\["):
        await get(starlette(asked, Route("/", text, name="work")), "/")


def test_whether_something_is_installed_is_looked_up() -> None:
    """What the tests have is there; a module below an absent package is not."""
    assert all(extras.installed(field) for field in extras.NEEDS)
    extras.installed.cache_clear()
    extras.NEEDS["tracing"], there = ("no_such_package.below", "otel"), extras.NEEDS["tracing"]
    try:
        assert not extras.installed("tracing")
    finally:
        extras.NEEDS["tracing"] = there
        extras.installed.cache_clear()


async def test_an_endpoint_may_ask_where_the_default_says_off(seen: Seen) -> None:
    """`tracing="off"` by default and on for one endpoint: that one is traced."""
    config = JobConfig(default=EndpointPolicy(tracing="off"), endpoints={"seen": EndpointPolicy(tracing=Tracing())})
    app = starlette(config, Route("/", text, name="work"), Route("/seen", text, name="seen"))
    await get(app, "/")
    await get(app, "/seen")
    await get(app, "/nowhere")
    assert [span.name for span in seen.servers()] == ["GET /seen"]


async def test_lines_and_durations_know_their_trace(seen: Seen, tmp_path: Path) -> None:
    """The trace's id is in the access log, in the context of handlers' lines, and an exemplar of the duration."""
    log = tmp_path / "log"
    config = JobConfig(default=EndpointPolicy(), telemetry=Telemetry(log_to=str(log), log_format="json"))
    await get(starlette(config, Route("/", text, name="work")), "/")
    trace_id = f"{seen.server().context.trace_id:032x}"
    assert lines(log)[0]["trace_id"] == trace_id
    read = await call(config.metrics, http("/", headers=[(b"accept", b"application/openmetrics-text")]))
    assert f'# {{trace_id="{trace_id}"}}'.encode() in read.body


async def test_layers_can_be_installed_alone_outside_each_other() -> None:
    """Observers in one stack see what layers in another stack of the same config decide."""
    config = JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60)))

    inner = PolicyMiddleware(Starlette(routes=[Route("/", text, name="work")]), config, layers=("rate_limit",))
    app = PolicyMiddleware(inner, config, layers=("tracing", "metrics", "logging"))
    await get(app, "/")
    await get(app, "/")
    counted = await samples(config, "forecourt_decisions_total", "layer", "outcome")
    assert counted == {("rate_limit", "allowed"): 1, ("rate_limit", "refused"): 1}


async def test_layers_below_tell_what_they_decide() -> None:
    """Authentication, timeouts and the cache are heard as the limits are."""
    heard: list[tuple[str, str]] = []
    config = JobConfig(
        default=EndpointPolicy(cache=Cache(ttl=60, partition="everyone")),
        endpoints={"closed": EndpointPolicy(security=Security())},
        api_keys=ApiKeys(store=True),
        on_decision=lambda _, decision: heard.append((decision.layer, decision.outcome)),
    )
    app = starlette(config, Route("/", text, name="work"), Route("/closed", text, name="closed"))
    for path in ("/", "/", "/closed"):
        await get(app, path)
    assert heard == [("cache", "miss"), ("cache", "stored"), ("cache", "hit"), ("security", "challenged")]


async def test_what_one_slot_of_a_cluster_let_in_is_told() -> None:
    """A limit there has counted the call before the lease of another slot refused it: both are told."""
    heard: list[tuple[str, str]] = []

    class Slots(MemoryStore):
        """Three slots: the first grants, and in the last a limit stands beside the lease that refuses."""

        async def decide(self, questions: Sequence[Question]) -> list[Decided]:
            assert [question.kind for question in questions] == ["fixed_window", "fixed_window", "lease"]
            return [
                Decided("go", (9, 0, 0, 0), granted=True),
                Decided("go", (9, 0, 0, 0)),
                Decided("refuse", (0, SECOND, 1, 0)),
            ]

    policy = EndpointPolicy(
        rate_limit=[FixedWindow(limit=9, window=60), FixedWindow(limit=99, window=3600)],
        concurrency=Concurrency(limit=1),
    )
    config = JobConfig(default=policy, on_decision=lambda _, decision: heard.append((decision.layer, decision.outcome)))
    app = starlette(config, Route("/", text, name="work"), store=Slots(FakeClock()))
    assert (await get(app, "/")).status == 429
    assert heard == [("rate_limit", "allowed"), ("concurrency", "refused")]
