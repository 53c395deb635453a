"""Retries in the stack: when the handler is called again, and when it never is."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from pydantic import ValidationError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import CircuitBreaker, EndpointPolicy, JobConfig, Retry, RetryMiddleware, Timeout
from forecourt.core.retrying import RESERVE, Budget, Plan
from forecourt.errors import CircuitOpen
from forecourt.inspection import inspect
from forecourt.testing import FakeClock
from forecourt.types import Message, Receive, Scope, Send
from tests.asgi import Answer, call, get, http
from tests.callers import Caller, settle_down
from tests.services import starlette

DONE: Message = {"type": "http.request", "body": b"", "more_body": False}


class Flaky:
    """An app that says what a test has written down, a line per attempt, the last for ever; no time passes between."""

    def __init__(self, *says: int | Exception, headers: dict[str, str] | None = None, **policy: object) -> None:
        self.says = list(says)
        self.headers = headers
        self.bodies: list[bytes] = []
        self.after: list[int] = []
        self.clock = FakeClock()
        self.stalls = 0
        retry = Retry(**{"backoff": 0, **policy})  # type: ignore[arg-type]  # the tests' own words
        self.endpoint = EndpointPolicy(retry=retry)

    @property
    def calls(self) -> int:
        """How often the handler was called."""
        return len(self.bodies)

    async def answer(
        self, method: str = "GET", *received: Message, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> Answer:
        """Call, with these messages as the request's."""
        return await call(self.app, http("/", method, headers=headers), *(received or (DONE,)))

    @property
    def app(self) -> RetryMiddleware:
        """The app under its policy; the same config gives the same layers."""
        config = JobConfig(endpoints={"own": self.endpoint})
        route = Route("/", self._own, name="own", methods=["GET", "POST", "PUT"])
        self._app = starlette(config, route, clock=self.clock)
        return self._app  # type: ignore[return-value]  # an ASGI app

    async def _after(self, number: int) -> None:
        self.after.append(number)

    async def _own(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        assert not hasattr(request.state, "seen")
        request.state.seen = self.calls
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if self.stalls:
            self.stalls -= 1
            await asyncio.Event().wait()
        if isinstance(said, Exception):
            raise said
        number = self.calls
        background = BackgroundTask(self._after, number)
        return PlainTextResponse(f"attempt {number}", said, headers=self.headers, background=background)


async def test_what_failed_is_called_again() -> None:
    """By its status or by its exception; the caller sees one answer, the good one."""
    for first in (503, RuntimeError("it failed")):
        service = Flaky(first, 200)
        answer = await service.answer()
        assert (answer.status, answer.body, service.calls) == (200, b"attempt 2", 2)
        assert len(answer.starts) == 1


async def test_what_breaks_once_it_has_answered_is_final() -> None:
    """With its first byte sent an answer stands: what breaks after it is raised, and nobody is called again."""
    calls = 0

    async def breaks_late(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    app = RetryMiddleware(breaks_late, JobConfig(default=EndpointPolicy(retry=Retry()), routes={"own": "GET /"}))
    with pytest.raises(RuntimeError, match="too late"):
        await call(app, http("/"), DONE)
    assert calls == 1


async def test_what_breaks_after_an_answer_that_is_tried_again_is_no_matter() -> None:
    """A handler that answers 503 and breaks while it sends the body has failed once, and is called again."""
    calls = 0

    async def breaks_once(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        await send({"type": "http.response.start", "status": 503 if calls == 1 else 200, "headers": []})
        if calls == 1:
            raise RuntimeError("nobody will hear of it")
        await send({"type": "http.response.body", "body": b"done"})

    policy = EndpointPolicy(retry=Retry(backoff=0))
    app = RetryMiddleware(breaks_once, JobConfig(default=policy, routes={"own": "GET /"}))
    assert (await call(app, http("/"), DONE)).status == 200
    assert calls == 2


async def test_attempts_end() -> None:
    """After so many the last answer goes out as it is, and the last exception is raised."""
    service = Flaky(503)
    answer = await service.answer()
    assert (answer.status, answer.body, service.calls, service.after) == (503, b"attempt 3", 3, [1, 2, 3])
    failing = Flaky(RuntimeError("it failed"))
    with pytest.raises(RuntimeError):
        await failing.answer()
    assert failing.calls == 3


@pytest.mark.parametrize("status", [200, 404, 409, 429, 500])
async def test_other_answers_are_final(status: int) -> None:
    """What the policy does not name is nothing to try again."""
    service = Flaky(status)
    assert ((await service.answer()).status, service.calls) == (status, 1)


async def test_only_idempotent_methods_unless_the_operator_says_so() -> None:
    """PUT is one; POST is none."""
    for method, unsafe, calls in (("PUT", False, 2), ("POST", False, 1), ("POST", True, 2)):
        service = Flaky(503, 200, unsafe=unsafe)
        await service.answer(method)
        assert service.calls == calls


async def test_the_body_is_given_again_up_to_its_bound() -> None:
    """Each attempt reads all of it; what is longer passes through once."""
    parts: list[Message] = [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": True},
        {"type": "http.request", "body": b"end", "more_body": False},
    ]
    service = Flaky(503, 200, max_body=9)
    assert (await service.answer("PUT", *parts)).status == 200
    assert service.bodies == [b"onetwoend"] * 2
    longer = Flaky(503, 200, max_body=5)
    assert (await longer.answer("PUT", *parts)).status == 503
    assert longer.bodies == [b"onetwoend"]


async def test_nobody_retries_for_a_client_that_left() -> None:
    """The disconnect reaches the handler, and ends the attempts."""
    calls = []

    async def own(request: Request) -> Response:
        await request.body()
        calls.append(await request.is_disconnected())
        raise RuntimeError("nobody listens")

    config = JobConfig(endpoints={"own": Flaky(200).endpoint})
    app = starlette(config, Route("/", own, name="own"))
    with pytest.raises(RuntimeError):
        await get(app, "/")
    assert calls == [True]


async def test_a_retry_is_not_retried() -> None:
    """A request that says it is one passes once: one layer of retries is enough."""
    service = Flaky(503)
    await service.answer(headers=[(b"retry-attempt", b"1")])
    assert service.calls == 1


async def test_retry_after_is_respected() -> None:
    """Not sooner; and not at all where it is longer than the longest backoff."""
    service = Flaky(503, 200, headers={"retry-after": "2"})
    caller = await Caller.begin(service.app)
    assert (caller.status, service.calls) == (None, 1)
    service.clock.advance(1.9)
    await settle_down()
    assert service.calls == 1
    service.clock.advance(0.1)
    assert (await caller.end()).status == 200
    later = Flaky(503, 200, headers={"retry-after": "3"})
    assert (await later.answer()).status == 503
    dated = Flaky(503, 200, headers={"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert (await dated.answer()).status == 200


async def test_each_attempt_has_a_limit_of_its_own_within_the_deadline() -> None:
    """A stalled attempt is given up and tried again; no wait goes past the deadline."""
    service = Flaky(200)
    service.endpoint = EndpointPolicy(retry=Retry(backoff=0), timeout=Timeout(seconds=10, per_attempt=2))
    service.stalls = 1
    caller = await Caller.begin(service.app)
    service.clock.advance(2)
    answer = await caller.end()
    assert (answer.status, answer.body) == (200, b"attempt 2")
    short = Flaky(503, 200, headers={"retry-after": "2"})
    short.endpoint = EndpointPolicy(retry=Retry(backoff=0), timeout=Timeout(seconds=2))
    assert ((await short.answer()).status, short.calls) == (503, 1)


async def test_the_breaker_sees_one_outcome_for_all_attempts() -> None:
    """A call that succeeds in the end is no failure; one that fails three times is one."""
    service = Flaky(503, 503, 200)
    breaker = CircuitBreaker(name="one", fail_max=2)
    service.endpoint = EndpointPolicy(retry=Retry(backoff=0), circuit_breaker=breaker)
    app = service.app
    assert (await get(app, "/")).status == 200
    service.says = [503]
    assert [(await get(app, "/")).status for _ in range(2)] == [503, 503]
    assert json.loads((await get(app, "/")).body)["type"].endswith("circuit-open")
    assert service.calls == 9


async def test_an_open_breaker_in_the_handler_is_not_tried_again() -> None:
    """It has said when to come back."""
    service = Flaky(CircuitOpen("payments", 7))
    answer = await service.answer()
    assert (answer.status, answer.headers["retry-after"], service.calls) == (503, "7", 1)


async def test_a_total_outage_is_hardly_amplified() -> None:
    """A fifth of the traffic, and the reserve once."""
    service = Flaky(503, budget=0.2, max_attempts=10)
    app = service.app
    for _ in range(500):
        await get(app, "/")
    assert 500 + 100 <= service.calls <= 500 + 100 + RESERVE


def test_a_budget_never_holds_more_than_its_reserve() -> None:
    """A long calm saves nothing up."""
    budget = Budget(1)
    for _ in range(1000):
        budget.call()
    assert [budget.take() for _ in range(RESERVE + 1)] == [True] * RESERVE + [False]


def test_waits() -> None:
    """A random share of a backoff that doubles up to its bound; never past what is left."""
    plan = Plan(max_attempts=4, backoff=100, max_backoff=250)
    assert [plan.wait(attempt, 1.0, None, None) for attempt in (1, 2, 3, 4)] == [100, 200, 250, "attempts"]
    assert plan.wait(1, 0.5, None, 51) == 50
    assert plan.wait(1, 0.5, None, 50) == "late"
    assert plan.wait(1, 0.5, 60, None) == 60
    assert plan.wait(1, 0.5, 251, None) == "late"


@pytest.mark.parametrize(
    "words", [{"max_attempts": 11}, {"backoff": 3}, {"on": [200]}, {"budget": 2}, {"max_body": -1}]
)
def test_what_cannot_work_is_refused(words: dict[str, object]) -> None:
    """By the field that is wrong."""
    with pytest.raises(ValidationError, match="not allowed"):
        Retry.model_validate(words)


def test_an_endpoints_own_retry_must_be_of_use() -> None:
    """One whose methods are never tried again stops the start; a default's is skipped there."""
    route = Route("/", lambda _: PlainTextResponse("x"), name="own", methods=["POST"])
    own = JobConfig(endpoints={"own": EndpointPolicy(retry=Retry())})
    (problem,) = inspect(starlette(own, route)).problems
    assert problem == (
        'retry of endpoint "own": POST / is not idempotent, so it would never be tried again;'
        " say unsafe=True if it may be carried out twice"
    )
    for fine in (JobConfig(default=EndpointPolicy(retry=Retry())), JobConfig(default=EndpointPolicy(retry="off"))):
        assert inspect(starlette(fine, route)).problems == []
