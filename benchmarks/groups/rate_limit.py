"""Rate limits beside their peers: admitted and refused, in memory and on Valkey, one and many at a time."""

from benchmarks import ours
from benchmarks.apps import fastapi
from benchmarks.bench import Bench
from benchmarks.harness import Variant
from benchmarks.peers.limits import PEERS, Allowance
from benchmarks.results import Row, Table

TITLE = "Rate limits"
ABOUT = (
    "One FastAPI route that answers 1 KB. Every limit counts one client address. Admitted: 1,000,000 calls a "
    "second, so that none is refused; refused: one call an hour. forecourt's figures are of the whole stack "
    "as installed by `add_middleware(PolicyMiddleware, config=config)`, with RateLimit fields on every "
    "answer."
)
MISSING = ["fastapi-redis-sdk in memory: it works on a server only."]

FLOOR = "FastAPI alone"
_ADMITTING = Allowance(1_000_000, 1)
_REFUSING = Allowance(1, 3600)


async def run(bench: Bench) -> list[Table]:
    """Measure all tables; those in memory last, as some peers there start threads that never end."""
    url = bench.server.url
    valkey = await bench.measure("on Valkey", await _admitted("valkey", url), count=True)
    at_once = await bench.measure("on Valkey, 64 at a time", await _admitted("valkey", url, "64"), tasks=64)
    refused_valkey = await bench.measure("refused on Valkey", await _refused("valkey", url), count=True)
    memory = await bench.measure("in memory", await _admitted("memory", None))
    refused = await bench.measure("refused in memory", await _refused("memory", None))
    return [
        _table("memory", "Admitted, in memory", memory),
        _table("valkey", "Admitted, on Valkey", valkey),
        _table("valkey_64", "Admitted, on Valkey, 64 calls at a time: CPU of this process", at_once, cpu=True),
        _table("refused_memory", "Refused, in memory", refused, floor=False),
        _table("refused_valkey", "Refused, on Valkey", refused_valkey, floor=False),
    ]


def _table(key: str, title: str, rows: list[Row], *, floor: bool = True, cpu: bool = False) -> Table:
    return Table(key, title, rows, floor=FLOOR if floor else "", by="cpu" if cpu else "time")


async def _admitted(place: str, url: str | None, names: str = "") -> list[Variant]:
    return [
        Variant(FLOOR, fastapi(), side="base"),
        *await _peers(place, url, _ADMITTING, 200),
        Variant("forecourt, no policy", ours.protected(ours.config(store=url)), config="EndpointPolicy()", side="ours"),
        Variant(
            "forecourt, one limit",
            ours.protected(ours.config(ours.admitting(1), url, namespace=f"one{names}")),
            config="one TokenBucket by principal",
            side="ours",
        ),
        Variant(
            "forecourt, one limit, that layer alone",
            ours.protected(ours.config(ours.admitting(1), url, namespace=f"alone{names}"), layers=("rate_limit",)),
            config='PolicyMiddleware(layers=("rate_limit",)): one TokenBucket by principal',
            side="ours",
        ),
        Variant(
            "forecourt, three limits",
            ours.protected(ours.config(ours.admitting(3), url, namespace=f"three{names}")),
            config="three TokenBuckets: by principal, endpoint and client",
            side="ours",
        ),
    ]


async def _refused(place: str, url: str | None) -> list[Variant]:
    mine = ours.protected(ours.config(ours.refusing(), url, namespace="refused"))
    return [
        *await _peers(place, url, _REFUSING, 429),
        Variant("forecourt, refused", mine, config="one TokenBucket by principal", side="ours", status=429),
    ]


async def _peers(place: str, url: str | None, allowance: Allowance, status: int) -> list[Variant]:
    return [
        Variant(peer.name, await peer.make(allowance, url), config=peer.config, status=status)
        for peer in PEERS
        if place in peer.places
    ]
