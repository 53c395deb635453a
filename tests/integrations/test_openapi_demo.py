"""The demo's schema is true: whatever is sent to it, the answers are those that it tells of, in status and fields.

Schemathesis makes requests from the schema, in process; FORECOURT_EXAMPLES says how many times as many.
"""

import importlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from forecourt.testing import FakeClock
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send
from tests.asgi import Answer, call, http
from tests.core.bench import examples
from tests.e2e.service import token

EXAMPLES = examples(10)
USUAL = {"content-type", "content-length", "cache-control", "vary"}
"""Fields that any answer may carry, told or not."""


class Demo(NamedTuple):
    """The records service as this machine calls it, its schema, and the clock that its stack goes by."""

    app: ASGIApp
    service: FastAPI
    schema: dict[str, Any]
    clock: FakeClock


@pytest.fixture
def demo(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    """Import the service anew, on a database of its own."""
    folder = tmp_path_factory.mktemp("records")
    monkeypatch.setenv("RECORDS_DATABASE", f"sqlite+aiosqlite:///{folder / 'records.sqlite3'}")
    for name in ("examples.records.app", "examples.records.database"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    service = importlib.import_module("examples.records.app").app
    clock = FakeClock(int(time.time()) * SECOND)
    service.user_middleware[0].kwargs["clock"] = clock

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Call from this machine, where tokens of the development issuer count."""
        scope["client"] = ("127.0.0.1", 1)
        await service(scope, receive, send)

    yield Demo(app, service, service.openapi(), clock)
    shutdown_lifespans()
    for name in ("examples.records.app", "examples.records.database"):
        sys.modules.pop(name, None)


def headers(roles: tuple[str, ...] = ("editor",)) -> dict[str, str]:
    """Return the field that shows a token which may do everything, unless its roles do not allow it."""
    return {"authorization": f"Bearer {token('read:records', 'write:records', roles=roles)}"}


def test_schemathesis_finds_nothing(demo: Demo) -> None:
    """No 500, no status, media type or body that the schema does not tell of, for callers known and unknown."""
    schema = schemathesis.openapi.from_dict(demo.schema)
    schema.app = demo.app
    seen: Counter[int] = Counter()
    known = headers()
    for found in schema.get_all_operations():
        operation = cast("Any", found).ok()

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def run(case: schemathesis.Case[Any]) -> None:
            demo.clock.advance(2)
            response = case.call(headers=known)
            seen[response.status_code] += 1
            left_out = [ignored_auth]  # our token took the place of what it made up
            if b"idempotency-key-reused" in response.content:
                left_out.append(positive_data_acceptance)  # a schema cannot say that a key goes with one payload
            case.validate_response(response, excluded_checks=left_out)

        run()
    assert seen.keys() >= {200, 201, 401, 404, 429}


async def refusals(demo: Demo) -> list[tuple[str, str, Answer]]:
    """Provoke what the demo can refuse: each operation with its answer."""
    known = [(name.encode(), value.encode()) for name, value in headers().items()]
    weak = [(name.encode(), value.encode()) for name, value in headers(roles=()).items()]
    json = (b"content-type", b"application/json")
    record = {"type": "http.request", "body": b'{"title": "a"}'}
    other = {"type": "http.request", "body": b'{"title": "b"}'}
    guess = {"type": "http.request", "body": b'{"name": "a", "password": "b"}'}
    one, many = "/records/{record_id}", "/records"
    came: list[tuple[str, str, Answer]] = []

    async def send(path: str, method: str, fields: list[tuple[bytes, bytes]], *body: Message, at: str = "") -> None:
        answer = await call(demo.app, http(at or path, method, headers=[*fields, json]), *body)
        came.append((path, method.lower(), answer))

    await send(many, "GET", [])
    await send(many, "GET", [(b"authorization", b"Bearer a b")])
    await send(many, "POST", weak, record)
    for key, body in ((b"", record), (b"k", record), (b"k", other), (b"l", record)):
        demo.clock.advance(1 if key == b"k" else 0)
        await send(many, "POST", [*known, (b"idempotency-key", key)], body)
    for _ in range(3):
        await send(many, "POST", known, record)
    for _ in range(7):
        await send(one, "GET", known, at="/records/1")
    await send(one, "GET", [*known, (b"cache-control", b"only-if-cached")], at="/records/3")
    demo.clock.advance(5)
    etag = (await call(demo.app, http("/records/1", headers=known))).headers["etag"].encode()
    await send(one, "GET", [*known, (b"if-none-match", etag)], at="/records/1")
    await send(one, "GET", [*known, (b"range", b"bytes=0-1")], at="/records/1")
    await send(one, "GET", [*known, (b"range", b"bytes=9999-")], at="/records/1")
    await send(one, "GET", [*known, (b"cache-control", b"only-if-cached")], at="/records/3")
    await send(one, "PUT", weak, at="/records/1")
    await send(one, "PUT", known, record, at="/records/9")
    for _ in range(6):
        await send("/login", "POST", [], guess)
    for _ in range(1000):
        await send("/health", "GET", [])
    return came


async def test_every_refusal_is_told_of(demo: Demo) -> None:
    """Each answer that the demo can be brought to give is in its schema, with each of its fields."""
    async with demo.service.router.lifespan_context(demo.service):
        came = await refusals(demo)
    for path, method, answer in came:
        told = demo.schema["paths"][path][method]["responses"]
        assert str(answer.status) in told, (path, method, answer.status)
        response = told[str(answer.status)]
        fields = {name.lower() for name in response.get("headers", {})}
        assert {name.lower() for name in answer.headers} - USUAL <= fields, (path, method, answer.headers)
        kind = answer.headers.get("content-type", "")
        assert kind in ("", "application/json") or kind in response["content"], (path, method, kind)
    statuses = {(method, answer.status) for _, method, answer in came}
    assert statuses >= {("get", status) for status in (400, 401, 429, 304, 206, 416, 504)}
    assert statuses >= {("post", status) for status in (400, 401, 403, 422, 429)}
