"""The small policies, each alone on one FastAPI route, and all of them together."""

from datetime import UTC, datetime

from benchmarks import ours
from benchmarks.apps import fastapi
from benchmarks.bench import Bench
from benchmarks.harness import Variant
from benchmarks.results import Table
from forecourt import (
    ClientNetworks,
    Content,
    CrossOrigin,
    Deprecation,
    EndpointPolicy,
    Maintenance,
    SecurityHeaders,
)

TITLE = "Small policies"
ABOUT = (
    "One FastAPI route that answers 1 KB, with one policy that lets the call pass, and with all of them. None asks a "
    "store. There are no peers of their kind to put beside them but hand-written middlewares."
)

FLOOR = "FastAPI alone"

POLICIES = {
    "clients": EndpointPolicy(clients=ClientNetworks(deny={"198.51.100.0/24"})),
    "max_headers": EndpointPolicy(max_headers=16_384),
    "max_body": EndpointPolicy(max_body=1_048_576),
    "content": EndpointPolicy(content=Content(accepts={"application/json"}, produces={"application/json"})),
    "cross_origin": EndpointPolicy(cross_origin=CrossOrigin()),
    "headers": EndpointPolicy(headers=SecurityHeaders()),
    "maintenance": EndpointPolicy(maintenance=Maintenance()),
    "deprecation": EndpointPolicy(deprecation=Deprecation(since=datetime(2026, 1, 1, tzinfo=UTC))),
}


async def run(bench: Bench) -> list[Table]:
    """Measure the table."""
    rows = await bench.measure("small policies", [_floor(), _nothing(), *_each(), _all()])
    return [Table("small", "Small policies", rows, floor=FLOOR)]


def _floor() -> Variant:
    return Variant(FLOOR, fastapi(), side="base")


def _nothing() -> Variant:
    app = ours.protected(ours.config(), layers=())
    return Variant("forecourt, no layer", app, config="layers=(): the exchange, the endpoint, its check", side="ours")


def _each() -> list[Variant]:
    return [
        Variant(f"forecourt, {name}", _protected(policy, (name,)), config=f'layers=("{name}",)', side="ours")
        for name, policy in POLICIES.items()
    ]


def _all() -> Variant:
    said = {name: getattr(policy, name) for name, policy in POLICIES.items()}
    layers = ("headers", "max_headers", "clients", "cross_origin", "maintenance", "deprecation", "max_body", "content")
    app = _protected(EndpointPolicy(**said), layers)
    return Variant("forecourt, all of them", app, config="all eight layers", side="ours")


def _protected(policy: EndpointPolicy, layers: tuple[str, ...]) -> ours.ASGIApp:
    return ours.protected(ours.settings(policy), layers=layers)
