"""A typical assembly of peers whole, beside the whole stack: one FastAPI route, everything on one Valkey."""

from typing import Any, NamedTuple

from benchmarks import ours
from benchmarks.apps import NoOp, fastapi
from benchmarks.bench import Bench
from benchmarks.calls import Call
from benchmarks.harness import Variant
from benchmarks.peers import assembly, idempotency
from benchmarks.results import Table
from forecourt import Cache, CircuitBreaker, EndpointPolicy, FloodGuard, Idempotency, Security
from forecourt.testing import FakeIssuer

TITLE = "The whole stack beside a typical assembly"
ABOUT = (
    "What services glue together today on one FastAPI route that answers 1 KB: a bearer token (PyJWT HS256), "
    "slowapi, fastapi-cache2, OpenTelemetry's ASGI middleware with its defaults, "
    "prometheus-fastapi-instrumentator and structlog; for the POST asgi-idempotency-header and pybreaker "
    "instead of the cache. forecourt is the stack as `add_middleware` installs it: a flood guard, a token seen before "
    "(HS256, one scope), three rate limits, metrics, the access log and tracing without an SDK; in the rows that say "
    "so a kept answer, or an idempotency key and a circuit breaker."
)

FLOOR = "FastAPI alone"


class Own(NamedTuple):
    """One way in which our whole stack is called."""

    name: str
    about: str
    call: Call
    endpoint: str
    policies: dict[str, Any]


_GUARDED = "a flood guard, a known token with a scope, three TokenBuckets, metrics, access log, tracing without an SDK"
_HIT = "assembly, cache hit"
GET = Own("", _GUARDED, Call(), "get_record", {})
HIT = Own(
    ", cache hit",
    f"{_GUARDED}; Cache(ttl=3600)",
    Call(),
    "get_record",
    {"cache": Cache(ttl=3600, partition="everyone")},
)
POST = Own(
    ", idempotent POST",
    f"{_GUARDED}; Idempotency(), CircuitBreaker()",
    idempotency.FIRST,
    "post_record",
    {"idempotency": Idempotency(max_records=ours.NEVER_FULL), "circuit_breaker": CircuitBreaker()},
)


async def run(bench: Bench) -> list[Table]:
    """Measure one call at a time, then 64."""
    url = bench.server.url
    rows = await bench.measure("whole stacks", _variants(url), count=True)
    hits = await bench.measure("whole stacks, hits", _hits(url), count=True)
    at_once = await bench.measure("whole stacks, 64 at a time", _variants(url, "64"), tasks=64)
    return [
        Table("get", "One call at a time", rows, floor=FLOOR, reference="typical assembly"),
        Table("hit", "One call at a time, answered from the cache", hits, floor=FLOOR, reference=f"typical {_HIT}"),
        Table(
            "get_64",
            "64 calls at a time: CPU of this process",
            at_once,
            floor=FLOOR,
            reference="typical assembly",
            by="cpu",
        ),
    ]


def _variants(url: str, name: str = "1") -> list[Variant]:
    no_op = fastapi()
    no_op.add_middleware(NoOp)
    floor_post = idempotency.POST
    return [
        Variant(FLOOR, fastapi(), side="base"),
        Variant("FastAPI alone, POST", fastapi(), floor_post, side="base"),
        Variant("one no-op BaseHTTPMiddleware", no_op, config="dispatch returns await call_next(request)", side="base"),
        *(each for each in assembly.variants(url) if not each.name.endswith(_HIT)),
        *(_ours(each, place, address, name) for place, address in _places(url) for each in (GET, POST)),
    ]


def _hits(url: str) -> list[Variant]:
    """Return what answers from a cache: apart, as what keeps a cache honest asks the server now and then by itself."""
    return [
        Variant(FLOOR, fastapi(), side="base"),
        *(each for each in assembly.variants(url) if each.name.endswith(_HIT)),
        *(_ours(HIT, place, address, "hit") for place, address in _places(url)),
    ]


def _places(url: str) -> tuple[tuple[str, str | None], ...]:
    return ("memory", None), ("Valkey", url)


def _ours(own: Own, place: str, url: str | None, namespace: str) -> Variant:
    issuer = FakeIssuer(algorithm="HS256")
    token = (b"authorization", b"Bearer " + issuer.token(scopes={"read:records"}, exp=4_000_000_000).encode())
    policy = EndpointPolicy(security=Security(scopes={"read:records"}), rate_limit=ours.admitting(3), **own.policies)
    settings = ours.settings(
        EndpointPolicy(),
        url,
        endpoints={own.endpoint: policy},
        issuers=[issuer.policy],
        flood_guard=FloodGuard(limit=ours.NEVER_FULL, window=1),
        namespace=f"whole{namespace}{len(own.name)}",
    )
    call = own.call._replace(headers=(*own.call.headers, token))
    return Variant(f"forecourt, {place}{own.name}", ours.protected(settings), call, own.about, "ours")
