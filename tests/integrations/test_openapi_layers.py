"""The schema tells what each layer can answer, reads and adds; whatever framework made it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI, Header

from forecourt import (
    Adaptive,
    Audit,
    Cache,
    CircuitBreaker,
    ClientNetworks,
    Concurrency,
    Content,
    Credits,
    CrossOrigin,
    Database,
    Debounce,
    Deprecation,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    Idempotency,
    JobConfig,
    Logging,
    Maintenance,
    MaxBody,
    Offload,
    Retry,
    Security,
    SecurityHeaders,
    Telemetry,
    Timeout,
    Upstream,
    Webhook,
)
from forecourt.integrations.openapi import described, document_policies
from forecourt.integrations.openapi_layers import TOLD
from forecourt.policies.deprecation import Brownout
from forecourt.stack import ROWS

SINCE, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
KEEPS = EndpointPolicy(idempotency=Idempotency(key="client"))

CASES: dict[str, tuple[EndpointPolicy, set[str], set[str]]] = {
    "nothing": (EndpointPolicy(headers=SecurityHeaders(), retry=Retry(unsafe=True)), set(), set()),
    "max_headers": (EndpointPolicy(max_headers=100), {"431"}, set()),
    "clients": (EndpointPolicy(clients=ClientNetworks(allow={"192.0.2.0/24"})), {"403"}, set()),
    "cross_origin": (EndpointPolicy(cross_origin=CrossOrigin()), {"403"}, set()),
    "public": (EndpointPolicy(security=Security(public=True)), set(), set()),
    "security": (EndpointPolicy(security=Security(scopes={"a"})), {"400", "401", "403", "503"}, set()),
    "known": (EndpointPolicy(security=Security()), {"400", "401", "503"}, set()),
    "maintenance": (EndpointPolicy(maintenance=Maintenance()), {"503"}, set()),
    "deprecation": (EndpointPolicy(deprecation=Deprecation(since=SINCE)), set(), {"Deprecation"}),
    "gone": (
        EndpointPolicy(
            deprecation=Deprecation(
                since=SINCE, sunset=LATER, gone=True, successor="/v2", brownouts=(Brownout(start=SINCE, end=LATER),)
            )
        ),
        {"410", "503"},
        {"Deprecation", "Sunset", "Link"},
    ),
    "rate_limit": (
        EndpointPolicy(rate_limit=FixedWindow(limit=1, window=1)),
        {"429", "503"},
        {"RateLimit", "RateLimit-Policy"},
    ),
    "trailing": (
        EndpointPolicy(rate_limit=Debounce(interval=1, edge="trailing")),
        {"409", "429", "503"},
        {"RateLimit", "RateLimit-Policy"},
    ),
    "concurrency": (
        EndpointPolicy(concurrency=Concurrency(limit=1)),
        {"429", "503"},
        {"RateLimit", "RateLimit-Policy"},
    ),
    "everyone": (
        EndpointPolicy(concurrency=Concurrency(limit=1, key="endpoint")),
        {"503"},
        {"RateLimit", "RateLimit-Policy"},
    ),
    "adaptive": (EndpointPolicy(concurrency=Adaptive()), {"503"}, set()),
    "max_body": (EndpointPolicy(max_body=100), {"413"}, set()),
    "unpacked": (EndpointPolicy(max_body=MaxBody(size=100, encodings=("gzip",))), {"400", "413", "415"}, set()),
    "accepts": (EndpointPolicy(content=Content(accepts={"text/plain"})), {"415"}, set()),
    "produces": (EndpointPolicy(content=Content(produces={"text/plain"})), {"406"}, set()),
    "webhook": (
        EndpointPolicy(webhook=Webhook(scheme="github", secrets=[b"x" * 32])),
        {"400", "403", "409", "413", "503"},
        set(),
    ),
    "audit": (EndpointPolicy(audit=Audit()), {"503"}, set()),
    "best_effort": (EndpointPolicy(audit=Audit(required=False)), set(), set()),
    "idempotency": (KEEPS, {"400", "409", "422", "429", "503"}, {"Idempotent-Replayed"}),
    "credits": (EndpointPolicy(credits=Credits(amount=2)), {"402", "429", "503"}, set()),
    "circuit_breaker": (EndpointPolicy(circuit_breaker=CircuitBreaker()), {"503"}, set()),
    "timeout": (EndpointPolicy(timeout=Timeout(seconds=1)), {"504"}, set()),
    "offload": (EndpointPolicy(offload=Offload()), {"202", "413", "422", "503"}, set()),
    "cache": (EndpointPolicy(cache=Cache(ttl=1)), set(), set()),
}


async def handler() -> None:
    """Do nothing."""


def operation(policy: EndpointPolicy, method: str = "POST", **config: Any) -> dict[str, Any]:
    """Return the only operation of an app under this policy."""
    app = FastAPI()
    app.add_api_route("/x/{name:path}", handler, name="only", methods=[method], status_code=200)
    quiet = policy.model_copy(update={"logging": "off"})
    document_policies(app, JobConfig(endpoints={"only": quiet}, keys=[b"k" * 32], **config))
    found: dict[str, Any] = app.openapi()["paths"]["/x/{name}"][method.lower()]
    return found


@pytest.mark.parametrize("case", CASES)
def test_each_layer_tells_what_it_can_answer(case: str) -> None:
    """An operation has the statuses of its policy and no other, with a problem's media type, and the fields it adds."""
    policy, statuses, fields = CASES[case]
    told = operation(policy)
    responses = told["responses"]
    assert set(responses) == {"200"} | statuses
    assert set(responses["200"].get("headers", {})) == fields
    for status in statuses - {"202"}:
        assert responses[status]["content"] == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
        assert responses[status]["description"]


def test_every_layer_has_its_line() -> None:
    """A new row of the stack needs a line here, in the stack's order."""
    assert [name for name in TOLD if name not in ("logging", "databases", "upstreams")] == [row.name for row in ROWS]


def test_a_cache_tells_of_reads_only() -> None:
    """What is kept is answered in parts, with 304 and, where nothing is, 504; only that has a body of ours."""
    told = operation(EndpointPolicy(cache=Cache(ttl=1)), "GET")["responses"]
    assert set(told) == {"200", "206", "304", "416", "504"}
    assert set(told["304"]["headers"]) == {"Age", "Cache-Status", "ETag"}
    assert "content" not in told["304"]


def test_what_is_safe_may_come_from_other_sites() -> None:
    """Cross-origin protection refuses no GET."""
    assert set(operation(EndpointPolicy(cross_origin=CrossOrigin()), "GET")["responses"]) == {"200"}


def test_the_config_tells_too() -> None:
    """A flood guard, databases and upstreams are of every operation."""
    guard = FloodGuard(limit=1, window=1)
    assert set(operation(EndpointPolicy(), flood_guard=guard)["responses"]) == {"200", "429", "503"}
    upstreams = {"prices": Upstream(base_url="https://prices.example")}
    databases = {"main": Database(url="sqlite+aiosqlite:///records.sqlite3")}
    assert set(operation(EndpointPolicy(), databases=databases)["responses"]) == {"200", "409", "503", "504"}
    assert set(operation(EndpointPolicy(), upstreams=upstreams)["responses"]) == {"200", "502", "504"}


@pytest.mark.parametrize(("written", "number"), [("legacy", 3), ("both", 5), ("none", 0)])
def test_limits_tell_the_fields_that_the_config_writes(written: str, number: int) -> None:
    """`limit_headers` says which."""
    told = operation(EndpointPolicy(rate_limit=FixedWindow(limit=1, window=1)), limit_headers=written)
    assert len(told["responses"]["200"].get("headers", {})) == number
    assert len(told["responses"]["429"]["headers"]) == number + 1


def test_limits_and_prices_are_extensions() -> None:
    """Programs can read limits, prices and deprecation; what other tiers have stays untold."""
    limit = FixedWindow(name="burst", limit=5, window=2, key="client", tiers={"gold": {"limit": 9}})
    policy = EndpointPolicy(
        rate_limit=limit,
        concurrency=Concurrency(limit=3),
        credits=Credits(amount=2),
        deprecation=Deprecation(since=SINCE),
    )
    told = operation(policy)
    assert told["x-rate-limits"] == [
        {"type": "fixed_window", "name": "burst", "key": "client", "cost": 1, "limit": 5, "window": 2}
    ]
    assert told["x-concurrency"] == {"limit": 3, "key": "principal"}
    assert told["x-credits"] == {"amount": 2, "refund_on": ["5xx", "timeout"]}
    assert told["deprecated"] is True


def test_fields_stand_on_refusals_from_below() -> None:
    """A refusal carries what the layers above it left, and the request's name where it is logged; no other."""
    policy = EndpointPolicy(max_headers=9, rate_limit=FixedWindow(limit=1, window=1), timeout=Timeout(seconds=1))
    told = operation(policy)["responses"]
    assert set(told["504"]["headers"]) == {"RateLimit", "RateLimit-Policy"}
    assert "headers" not in told["431"]
    app = FastAPI()
    app.add_api_route("/", handler, name="only")
    logged = EndpointPolicy(logging=Logging(), timeout=Timeout(seconds=1))
    document_policies(app, JobConfig(endpoints={"only": logged}, telemetry=Telemetry(request_id_header="X-Trace")))
    responses = app.openapi()["paths"]["/"]["get"]["responses"]
    assert [list(responses[status]["headers"]) for status in ("200", "504")] == [["X-Trace"]] * 2


def test_request_fields_are_parameters() -> None:
    """The key's field under its own name, required where the policy says so; Prefer where a call can be a job."""
    (key,) = operation(EndpointPolicy(idempotency=Idempotency(key="client", header="X-Key")))["parameters"]
    assert (key["name"], key["in"], key["required"]) == ("X-Key", "header", True)
    (prefer,) = operation(EndpointPolicy(offload=Offload()))["parameters"]
    assert (prefer["name"], prefer["required"]) == ("Prefer", False)
    told = operation(EndpointPolicy(offload=Offload()))["responses"]["202"]
    assert told["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}


def test_what_the_app_says_itself_stays() -> None:
    """A response, a parameter and an extension of the app's own are added to, never replaced."""
    app = FastAPI()

    async def own(idempotency_key: str = Header(description="mine")) -> str:
        """Ask for the key itself."""
        return idempotency_key

    app.add_api_route("/", own, name="only", methods=["POST"], responses={409: {"description": "Mine."}})
    document_policies(app, JobConfig(endpoints={"only": KEEPS}))
    told = app.openapi()["paths"]["/"]["post"]
    assert [each["description"] for each in told["parameters"]] == ["mine"]
    assert told["responses"]["409"]["description"].startswith("Mine. ")
    assert set(told["responses"]["422"]["content"]) == {"application/json", "application/problem+json"}


def test_a_schema_of_another_framework() -> None:
    """Any app's schema can be described: its endpoints are those of the config's `routes`."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        """Answer nothing."""

    config = JobConfig(
        routes={"get_record": "GET /records/{record_id:int}", "ws": "/any"},
        endpoints={"get_record": EndpointPolicy(timeout=Timeout(seconds=1))},
        default=EndpointPolicy(),
    )
    schema: dict[str, Any] = {"paths": {"/records/{record_id}": {"get": {"responses": {"200": {}}}}}}
    assert described(schema, bare, config) is schema
    told = schema
    assert set(told["paths"]["/records/{record_id}"]["get"]["responses"]) == {"200", "504"}
    assert "Retry-After" in told["components"]["headers"]
    assert set(told["paths"]) == {"/records/{record_id}"}
