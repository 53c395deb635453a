"""Breaker, timeout, retry and shedding, each alone on one FastAPI route, and calls to another server."""

from benchmarks import ours
from benchmarks.apps import fastapi
from benchmarks.bench import Bench
from benchmarks.harness import Variant
from benchmarks.peers import upstreams
from benchmarks.peers.breakers import pybreaker_part
from benchmarks.peers.parts import alone
from benchmarks.results import Table
from examples.quotes.flaky import Flaky
from forecourt import Adaptive, CircuitBreaker, EndpointPolicy, Retry, Timeout

TITLE = "Resilience"
ABOUT = (
    "One FastAPI route that answers 1 KB, with one policy that lets the call pass. None asks a store, a shared breaker "
    "neither while it is closed. pybreaker stands in a dependency, as nobody has it as a layer. Shedding is measured "
    "without the lag of the loop, as a harness that never lets the loop run makes it late. The upstreams are calls by "
    "httpx to a server on loopback, on the same event loop, which is most of what they take."
)
MISSING = ["No other package has timeouts, retries of a handler or adaptive shedding as ASGI layers."]

FLOOR = "FastAPI alone"

POLICIES = {
    "circuit_breaker": EndpointPolicy(circuit_breaker=CircuitBreaker()),
    "timeout": EndpointPolicy(timeout=Timeout(seconds=5)),
    "retry": EndpointPolicy(retry=Retry()),
    "concurrency": EndpointPolicy(concurrency=Adaptive(max_lag="off")),
}


async def run(bench: Bench) -> list[Table]:
    """Measure the table."""
    rows = await bench.measure("resilience", [_floor(), alone(pybreaker_part()), _nothing(), *_each(), _shared()])
    async with Flaky(200).running() as server:
        calls = await bench.measure_works("upstreams", upstreams.works(server.url))
    return [
        Table("resilience", "Resilience", rows, floor=FLOOR),
        Table("upstreams", "A call to another server", calls, reference=calls[0].name, by="cpu"),
    ]


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


def _shared() -> Variant:
    policy = EndpointPolicy(circuit_breaker=CircuitBreaker(shared=True))
    app = _protected(policy, ("circuit_breaker",))
    return Variant("forecourt, shared circuit_breaker", app, config='layers=("circuit_breaker",)', side="ours")


def _protected(policy: EndpointPolicy, layers: tuple[str, ...]) -> ours.ASGIApp:
    return ours.protected(ours.settings(policy), layers=layers)
