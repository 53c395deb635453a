"""A typical assembly of peers whole, beside the whole stack: one FastAPI route, everything on one Valkey."""

from benchmarks import ours
from benchmarks.apps import NoOp, fastapi
from benchmarks.bench import Bench
from benchmarks.calls import Call
from benchmarks.harness import Variant
from benchmarks.peers import assembly, idempotency
from benchmarks.results import Table

TITLE = "The whole stack beside a typical assembly"
ABOUT = (
    "What services glue together today on one FastAPI route that answers 1 KB: a bearer token (PyJWT HS256), "
    "slowapi, fastapi-cache2, OpenTelemetry's ASGI middleware with its defaults, "
    "prometheus-fastapi-instrumentator and structlog; for the POST asgi-idempotency-header and pybreaker "
    "instead of the cache. forecourt has so far: errors, endpoints, flood guard, and rate limits (three of "
    "them here). Its authentication, telemetry, cache, idempotency and breaker are still to come, so this "
    "table will get closer."
)
MISSING = ["forecourt's idempotent POST and cache hit: those layers do not exist yet."]

FLOOR = "FastAPI alone"


async def run(bench: Bench) -> list[Table]:
    """Measure one call at a time, then 64."""
    url = bench.server.url
    rows = await bench.measure("whole stacks", _variants(url), count=True)
    at_once = await bench.measure("whole stacks, 64 at a time", _variants(url, "64"), tasks=64)
    return [
        Table("get", "One call at a time", rows, floor=FLOOR, reference="typical assembly"),
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
        *assembly.variants(url),
        _ours("forecourt, memory", None, name),
        _ours("forecourt, Valkey", url, name),
    ]


def _ours(name: str, url: str | None, namespace: str) -> Variant:
    settings = ours.config(
        ours.admitting(3), url, namespace=f"whole{namespace}", flood_guard={"limit": ours.NEVER_FULL, "window": 1}
    )
    config = "PolicyMiddleware with a flood guard and three TokenBuckets (by principal, endpoint, client)"
    return Variant(name, ours.protected(settings), Call(), config, "ours")
