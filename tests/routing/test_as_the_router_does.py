"""For random route tables and requests, the endpoint resolved is the one that the router then runs.

The whole form is FORECOURT_EXAMPLES=100.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from fastapi import APIRouter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from forecourt.routing import Resolution, RouteTable
from forecourt.types import ASGIApp, Message, Receive, Scope, Send
from tests.asgi import Answer, http, websocket
from tests.core.bench import examples
from tests.routing.apps import (
    RAN,
    Asking,
    Frontends,
    Opaque,
    Plan,
    askings,
    fastapi_app,
    plans,
    starlette_app,
)

FALLS_BACK_ALWAYS = hasattr(APIRouter, "_frontend_match_is_more_specific")
"""Whether frontends answer any page with their index; FastAPI 0.138 did only for names without a dot."""
AS_MANY = settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


class Resolving:
    """A middleware that resolves a request, passes it on, and keeps what was resolved and where it went."""

    def __init__(self, app: ASGIApp, *, seen: "list[tuple[RouteTable, Resolution, Scope]]") -> None:
        self.app = app
        self.seen = seen
        self.table: RouteTable | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Resolve on the very scope that is passed on."""
        self.table = self.table or RouteTable.compile(self.app, scope=scope)
        before = dict(scope)
        resolved = self.table.resolve(scope)
        assert self.table.resolve(scope) == resolved  # what is remembered is what was found
        assert dict(scope) == before
        self.seen.append((self.table, resolved, scope))
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories 0 to 9, each with an index page that is its number."""
    directory = tmp_path_factory.mktemp("frontends")
    for number in range(10):
        (directory / str(number)).mkdir()
        (directory / str(number) / "index.html").write_text(f"frontend {number}")
    return directory


async def patient(app: ASGIApp, scope: Scope) -> Answer:
    """Run one scope through an app for a client that stays until the answer is whole."""
    answer = Answer()
    first: Message = {"type": "websocket.connect" if scope["type"] == "websocket" else "http.request"}
    waiting = [first]

    async def receive() -> Message:
        return waiting.pop() if waiting else await asyncio.Future()

    async def send(message: Message) -> None:
        answer.messages.append(message)

    await app(scope, receive, send)
    return answer


def check(app: Starlette, requests: Sequence[Asking], runner: asyncio.Runner, pages: Sequence[str] = ()) -> None:
    """Make the requests; each must be run by what it resolved to. `pages` are the paths of the frontends."""
    seen: list[tuple[RouteTable, Resolution, Scope]] = []
    app.add_middleware(Resolving, seen=seen)
    for asking in requests:
        scope = http(asking.path) if asking.protocol == "http" else websocket(asking.path, denial=False)
        if asking.protocol == "http":
            scope["method"] = asking.method
        headers = [(b"host", asking.host.encode()), (b"accept", b"text/html")]
        scope.update(root_path=asking.root_path, headers=headers)
        scope[RAN] = []
        answer = runner.run(patient(app, scope))
        table, resolved, passed = seen.pop()
        if scope[RAN]:
            ((who, params),) = scope[RAN]
            compare(table, resolved, passed, who, params)
        else:
            compare_without_handler(table, resolved, passed, answer, pages)


def compare(table: RouteTable, resolved: Resolution, passed: Scope, who: object, params: Mapping[str, object]) -> None:
    """Compare what was resolved with the handler that ran."""
    endpoint = resolved.endpoint
    assert endpoint is not None
    assert resolved.params == params
    assert endpoint.handler is (None if isinstance(who, Opaque) else who)
    assert table.ran(endpoint, passed)
    for other in table.endpoints:
        if passed.get("endpoint") is who and other.handler not in {None, who}:
            assert not table.ran(other, passed)


def compare_without_handler(
    table: RouteTable, resolved: Resolution, passed: Scope, answer: Answer, pages: Sequence[str]
) -> None:
    """Compare what was resolved with the answer of the router, or of a frontend."""
    if resolved.endpoint is None:
        assert passed["type"] == "websocket" or answer.status in {307, 404, 405}
        return
    # HEAD has no body, and a directory without its last slash is redirected.
    assert answer.status in ({200, 307} if FALLS_BACK_ALWAYS else {200, 307, 404})
    if answer.body.startswith(b"frontend"):
        assert resolved.endpoint.path.endswith(pages[int(answer.body.split()[1])] + "/{path}")
    assert table.ran(resolved.endpoint, passed)


STARLETTE = plans(("mount", "app", "opaque", "host"))
FASTAPI = plans(("mount", "app", "opaque", "host", "include", "include", "include", "frontend"))


@AS_MANY
@given(st.data(), STARLETTE)
def test_a_starlette_app_runs_what_was_resolved(runner: asyncio.Runner, data: st.DataObject, plan: Plan) -> None:
    """In a Starlette app: routes, mounts, hosts, opaque apps, classes and routes with methods of their own."""
    check(starlette_app(plan), data.draw(st.lists(askings(plan), min_size=1, max_size=12)), runner)


@AS_MANY
@given(st.data(), FASTAPI)
def test_a_fastapi_app_runs_what_was_resolved(
    runner: asyncio.Runner, files: Path, data: st.DataObject, plan: Plan
) -> None:
    """In a FastAPI app: included routers at any depth and frontends as well."""
    frontends = Frontends(files)
    app = fastapi_app(plan, frontends)
    check(app, data.draw(st.lists(askings(plan), min_size=1, max_size=12)), runner, frontends.at)
