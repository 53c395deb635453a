"""The demo's schema is true: whatever is sent to it, the answers are those that it tells of, in status and fields.

Schemathesis makes requests from the schema, in process; FORECOURT_EXAMPLES says how many times as many.
"""

import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from forecourt import JobConfig
from forecourt.testing import Answer, FakeClock, UnderTest
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send
from tests.core.bench import examples
from tests.e2e.service import token

pytestmark = pytest.mark.slow
EXAMPLES = examples(10)
USUAL = {"content-type", "content-length", "cache-control", "vary"}
"""Fields that any answer may carry, told or not."""


MODULES = [f"examples.records.{name}" for name in ("app", "handlers", "database")]


class Demo(NamedTuple):
    """The records service as this machine calls it, its schema, and the clock that its stack goes by."""

    app: ASGIApp
    config: JobConfig
    schema: dict[str, Any]
    clock: FakeClock


@pytest.fixture
def demo(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    """Import the service anew, on a database of its own."""
    folder = tmp_path_factory.mktemp("records")
    monkeypatch.setenv("RECORDS_DATABASE", f"sqlite+aiosqlite:///{folder / 'records.sqlite3'}")
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("examples.records.app")
    service = module.app
    clock = FakeClock(int(time.time()) * SECOND)
    service.user_middleware[0].kwargs["clock"] = clock

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Call from this machine, where tokens of the development issuer count."""
        if scope["type"] == "http":
            scope["client"] = ("127.0.0.1", 1)
        await service(scope, receive, send)

    yield Demo(app, module.config, service.openapi(), clock)
    shutdown_lifespans()
    for name in MODULES:
        sys.modules.pop(name, None)


def headers(roles: tuple[str, ...] = ("editor",)) -> dict[str, str]:
    """Return the field that shows a token which may do everything, unless its roles do not allow it."""
    return {"authorization": f"Bearer {token('read:records', 'write:records', roles=roles)}"}


def left_out(response: Any) -> list[Any]:
    """Return the checks that mean nothing here: our token takes the place of what is made up."""
    reused = b"idempotency-key-reused" in response.content  # a schema cannot say that a key goes with one payload
    return [ignored_auth, positive_data_acceptance] if reused else [ignored_auth]


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
            case.validate_response(response, excluded_checks=left_out(response))

        run()
    assert seen.keys() >= {200, 201, 401, 404, 429}


def test_schemathesis_finds_nothing_in_chains_of_calls(demo: Demo) -> None:
    """Records that one call made are what the next ones are about: all checks, those over several calls too."""
    schema = schemathesis.openapi.from_dict(demo.schema)
    schema.app = demo.app
    seen: Counter[tuple[str, int]] = Counter()
    known = headers()

    class Chains(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        """Calls that follow each other as responses and parameters fit."""

        def get_call_kwargs(self, case: schemathesis.Case[Any]) -> dict[str, Any]:
            demo.clock.advance(2)
            return {"headers": known}

        def validate_response(self, response: Any, case: schemathesis.Case[Any], *_: object, **sent: Any) -> None:
            seen[f"{case.operation.method.upper()} {case.operation.path}", response.status_code] += 1
            # A body made wrong on purpose is made right again where a link fills it; the test above has that check.
            checks = {"excluded_checks": [*left_out(response), negative_data_rejection], "recorder": self.recorder}
            case.validate_response(response, transport_kwargs=sent, **checks)

    Chains.run(
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=8,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
    )
    one = "/records/{record_id}"
    assert {("POST /records", 201), (f"GET {one}", 200), (f"PUT {one}", 200)} <= seen.keys()


async def test_what_is_no_text_is_told_of(demo: Demo) -> None:
    """FastAPI's own schema has no word of its 400 for JSON that is not UTF-8; ours has, with its body."""
    async with UnderTest(demo.app, demo.config, clock=demo.clock) as tested:
        fields = {**headers(), "content-type": "application/json", "idempotency-key": "k"}
        answer = await tested.call("POST", "/records", headers=fields, body=b'{"title": "\xff"}')
    told = demo.schema["paths"]["/records"]["post"]["responses"]["400"]["content"]
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert {"application/json", "application/problem+json"} == told.keys()
    assert list(json.loads(answer.body)) == told["application/json"]["schema"]["required"]


async def refusals(demo: UnderTest) -> AsyncIterator[tuple[str, str, Answer]]:
    """Provoke what the demo can refuse: each operation with its answer."""
    known, weak = headers(), headers(roles=())
    one, many = "/records/{record_id}", "/records"

    async def send(
        path: str, method: str, fields: Mapping[str, str], json: object = None, at: str = ""
    ) -> tuple[str, str, Answer]:
        return path, method.lower(), await demo.call(method, at or path, headers=fields, json=json)

    yield await send(many, "GET", {})
    yield await send(many, "GET", {"authorization": "Bearer a b"})
    yield await send(many, "POST", weak, {"title": "a"})
    for key, title in (("", "a"), ("k", "a"), ("k", "b"), ("l", "a")):
        demo.clock.advance(1 if key == "k" else 0)
        yield await send(many, "POST", {**known, "idempotency-key": key}, {"title": title})
    for _ in range(3):
        yield await send(many, "POST", known, {"title": "a"})
    for _ in range(7):
        yield await send(one, "GET", known, at="/records/1")
    demo.clock.advance(5)
    etag = (await demo.get("/records/1", headers=known)).headers["etag"]
    for fields in ({"if-none-match": etag}, {"range": "bytes=0-1"}, {"range": "bytes=9999-"}):
        yield await send(one, "GET", {**known, **fields}, at="/records/1")
    yield await send(one, "GET", {**known, "cache-control": "only-if-cached"}, at="/records/3")
    yield await send(one, "PUT", weak, {"title": "a"}, at="/records/1")
    yield await send(one, "PUT", known, {"title": "a"}, at="/records/9")
    for _ in range(6):
        yield await send("/login", "POST", {}, {"name": "a", "password": "b"})
    for _ in range(1000):
        yield await send("/health", "GET", {})


async def test_every_refusal_is_told_of(demo: Demo) -> None:
    """Each answer that the demo can be brought to give is in its schema, with each of its fields."""
    async with UnderTest(demo.app, demo.config, clock=demo.clock) as tested:
        came = [each async for each in refusals(tested)]
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
