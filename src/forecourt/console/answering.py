"""Answers the endpoints of the console.

Data, events and actions are given to a caller whom the stack let in by a role, and who showed an Authorization header:
a browser never sends one by itself, so no other site can have it act. An action is written down before it is done and
after; one that cannot be written down is not done.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from forecourt.config_console import AnswersConsole
from forecourt.console import records
from forecourt.console.actions import ACTIONS, Action, Given, Site, Unfit, target_of
from forecourt.console.page import CAREFUL, page
from forecourt.console.state import State
from forecourt.errors import StoreError
from forecourt.exchange import KEY, Exchange
from forecourt.layers.audit import NOT_KEPT
from forecourt.responses import FORBIDDEN, STORE_UNAVAILABLE, TYPES, Problem
from forecourt.runtime import Runtime
from forecourt.types import SECOND

EVERY = 2.0
"""Seconds between two events."""

LASTS = 20 * SECOND
"""For how long one stream of events goes on; then the page asks again, so that a server can come to its end."""

_LONGEST = 4096
_KEPT = {"cache-control": "no-store", **CAREFUL}

NO_HEADER = Problem(
    401,
    "Unauthorized",
    TYPES + "no-authorization-header",
    "The console takes credentials from the Authorization header alone: send Authorization: Bearer, and a token.",
)
UNKNOWN = Problem(404, "Not Found", TYPES + "no-action", f"There is no such action; there are {', '.join(ACTIONS)}.")
UNREADABLE = Problem(
    400, "Bad Request", TYPES + "no-action", f"An action is told as a JSON object of at most {_LONGEST} bytes."
)
ELSEWHERE = Problem(
    409,
    "Conflict",
    TYPES + "other-worker",
    "This reached another worker than the one that was meant; nothing was done. Try again.",
)


class Console(AnswersConsole):
    """Answers for one config in this process."""

    def __init__(self, runtime: Runtime, state: State) -> None:
        self._runtime = runtime
        self._state = state
        self._site = Site(runtime, state)

    async def page(self, request: Request) -> Response:
        """Return the page, or what it loads."""
        return page(request)

    async def state(self, request: Request) -> Response:
        """Say how the service stands, once."""
        if refused := self._refused(request):
            return refused
        told = {"policies": self._state.policies(), **await self._state.now()}
        return JSONResponse(told, headers=_KEPT)

    async def events(self, request: Request) -> Response:
        """Stream how the service stands; `?worker=` asks for the stream of one worker."""
        if refused := self._refused(request):
            return refused
        wanted = request.query_params.get("worker")
        if wanted and wanted != self._state.worker:
            return _elsewhere(request)
        headers = {**_KEPT, "x-accel-buffering": "no"}
        return StreamingResponse(self._told(), headers=headers, media_type="text/event-stream")

    async def act(self, request: Request) -> Response:
        """Do what an operator asks for, and write it down."""
        if refused := self._refused(request):
            return refused
        kind = request.path_params["kind"]
        action = ACTIONS.get(kind)
        if action is None:
            return _problem(UNKNOWN)
        given = await _given(request)
        if given is None:
            return _problem(UNREADABLE)
        try:
            if given.get("worker") != self._state.worker and action.own(self._site, given):
                return _elsewhere(request)
        except Unfit as error:
            return _unfit(error)
        return await self._done(request, kind, action, given)

    async def _done(self, request: Request, kind: str, action: Action, given: Given) -> Response:
        exchange: Exchange = request.scope[KEY]
        what: dict[str, object] = {"action": f"console:{kind}", "resource": target_of(action, given)}
        try:
            await records.write(exchange, "begun", what)
        except Exception:  # noqa: BLE001  # the trail has logged it; a sink may fail in any way
            return _problem(NOT_KEPT)
        outcome, answer = "failed", _problem(STORE_UNAVAILABLE)
        try:
            said = await action.run(self._site, given)
            outcome, answer = "ok", JSONResponse({"done": said, "worker": self._state.worker}, headers=_KEPT)
            await self._state.now(fresh=True)
        except Unfit as error:
            outcome, answer = "refused", _unfit(error)
        except StoreError:
            outcome = "unavailable"
        finally:
            await _written(exchange, {**what, "outcome": outcome, "status": answer.status_code})
        return answer

    def _refused(self, request: Request) -> Response | None:
        """Refuse whom no stack of this config let in by a role, and who showed no header."""
        exchange: Exchange | None = request.scope.get(KEY)
        if exchange is None or exchange.runtime is not self._runtime or exchange.endpoint is None:
            return _problem(FORBIDDEN)
        if "authorization" not in request.headers:
            return _problem(NO_HEADER, {"www-authenticate": "Bearer"})
        policy = self._runtime.config.policy_for(exchange.endpoint.name, exchange.endpoint.protocol)
        security, principal = policy.security if policy else None, exchange.principal
        if security is None or principal is None or security.roles.isdisjoint(principal.roles):
            return _problem(FORBIDDEN)
        return None

    async def _told(self) -> AsyncIterator[str]:
        """Yield what protects each endpoint, once, and how all stands, again and again."""
        clock = self._runtime.clock
        until = clock.now() + LASTS
        yield _event("policies", {"policies": self._state.policies()})
        while True:
            yield _event("state", await self._state.now())
            if clock.now() >= until:
                return
            await clock.sleep(EVERY)


async def _written(exchange: Exchange, fields: Mapping[str, object]) -> None:
    """Write down how an action ended; where that cannot be, the trail has logged it."""
    try:
        await records.write(exchange, "ended", fields)
    except Exception:  # noqa: BLE001  # it is done, and its beginning is kept
        return


async def _given(request: Request) -> Given | None:
    """Return what an action is told; None where it cannot be read."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST:
            return None
    try:
        given = json.loads(body)
    except ValueError:
        return None
    return given if isinstance(given, dict) else None


def _event(kind: Literal["policies", "state"], told: Mapping[str, object]) -> str:
    return f"event: {kind}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n"


def _elsewhere(request: Request) -> Response:
    """Refuse what another worker should do, on a connection that is not used again: the next may lead there."""
    closes = str(request.scope.get("http_version", "")).startswith("1")
    return _problem(ELSEWHERE, {"connection": "close"} if closes else {})


def _unfit(error: Unfit) -> Response:
    titles = {404: "Not Found", 409: "Conflict", 422: "Unprocessable Content"}
    return _problem(Problem(error.status, titles[error.status], TYPES + "not-done", error.detail))


def _problem(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    if problem.status == 503:
        headers = {"retry-after": "1", **(headers or {})}
    sent = {**_KEPT, **(headers or {})}
    return JSONResponse(problem.members(), problem.status, sent, media_type="application/problem+json")
