"""Caches, idempotency and circuit breakers beside their peers, each alone on one FastAPI route."""

import tempfile

from benchmarks import ours
from benchmarks.apps import KB, fastapi
from benchmarks.bench import Bench
from benchmarks.calls import Call
from benchmarks.harness import Variant
from benchmarks.peers import breakers, caches, idempotency
from benchmarks.peers.parts import Part, alone
from benchmarks.results import Table
from forecourt import Cache, EndpointPolicy, Idempotency

TITLE = "Caches, idempotency, breakers"
ABOUT = (
    "forecourt's and those of other packages, each alone on one FastAPI route that answers 1 KB; where a row says so, "
    "with the metrics and the access log that the stack has by default, which the peers have not."
)
MISSING = [
    "Litestar caches its own handlers only: hits stand beside such an app; what a miss adds to FastAPI is not known.",
    "cashews has no replay of idempotency keys, hishel keeps no memory store: absent from those tables.",
    "interlock-cb and pybreaker are measured around a call, as their READMEs use them, not as a layer.",
]

FLOOR = "FastAPI alone"
_MISS = Call(path="/records/{}")
_CACHED = EndpointPolicy(cache=Cache(ttl=3600, tags={"record:{record_id}"}))
_CACHE_ALONE = ("errors", "invalidates", "cache")
_AND_OBSERVERS = "with metrics and the access log"
_WITH_ALL = f"forecourt, 1 KB, {_AND_OBSERVERS}"


async def run(bench: Bench) -> list[Table]:
    """Measure all tables."""
    url = bench.server.url
    tables = []
    for where, place in (("memory", None), ("valkey", url)):
        for what in ("hit", "miss"):
            with tempfile.TemporaryDirectory() as directory:
                parts = _caches(place, directory)
                call = Call() if what == "hit" else _MISS
                title = f"Cache, {what}, 1 KB, {'in memory (hishel: SQLite)' if place is None else 'on Valkey'}"
                count, hit = place is not None, what == "hit"
                others = caches.litestar(place, call) if hit else []
                variants = [*(alone(part, call) for part in parts), *others, *_own_caches(place, what, call)]
                tables.append(
                    await _table(bench, f"cache_{what}_{where}", title, variants, call, count=count, instead=hit)
                )
    for where, place in (("memory", None), ("valkey", url)):
        for what, call in (("first", idempotency.FIRST), ("replay", idempotency.REPLAY)):
            variants = [*(alone(part, call) for part in _idempotency(place)), *_our_idempotency(place, call, what)]
            title = f"Idempotent POST, {what}, {'in memory' if place is None else 'on Valkey'}"
            count, replay = place is not None, what == "replay"
            tables.append(
                await _table(bench, f"idempotency_{what}_{where}", title, variants, call, count=count, instead=replay)
            )
    works = await bench.measure_works("breakers", breakers.works())
    return [*tables, Table("breaker", "Circuit breaker around a call, closed", works, floor=works[0].name)]


async def _table(
    bench: Bench,
    key: str,
    title: str,
    variants: list[Variant],
    call: Call | None = None,
    *,
    routes: int = 1,
    reference: str = "",
    count: bool = False,
    instead: bool = False,
) -> Table:
    floor = Variant(FLOOR, fastapi(routes), call or Call(), side="base")
    rows = await bench.measure(title, [floor, *variants], count=count)
    if instead:
        return Table(key, f"{title}: a ratio to the call without it", rows, reference=FLOOR)
    return Table(key, title, rows, floor=FLOOR, reference=reference)


def _caches(url: str | None, directory: str) -> list[Part]:
    parts = [
        caches.fastapi_cache2(url),
        caches.cashews_part(url),
        caches.hishel_part(url, directory),
        caches.alcazaba(url),
    ]
    return [*parts, caches.redis_sdk(url)] if url else parts


def _own_caches(url: str | None, what: str, call: Call) -> list[Variant]:
    """Return our cache alone, as the peers are, and in the stack as installed; for hits with 100 KB too."""
    sizes = {"1 KB": KB, "100 KB": 100 * KB} if what == "hit" else {"1 KB": KB}
    alone = [(f"forecourt, {size}", number, _CACHE_ALONE) for size, number in sizes.items()]
    return [
        Variant(
            name,
            ours.protected(
                ours.settings(
                    EndpointPolicy(),
                    url,
                    namespace=f"cache{what}{number}{len(layers or ())}",
                    endpoints={"get_record": _CACHED},
                ),
                fastapi(size=number),
                layers,
            ),
            call,
            config=f'Cache(ttl=3600, tags={{"record:{{record_id}}"}}), anonymous callers share; layers={layers}',
            side="ours",
        )
        for name, number, layers in [*alone, (_WITH_ALL, KB, None)]
    ]


def _idempotency(url: str | None) -> list[Part]:
    return [idempotency.asgi_idempotency_header(url), idempotency.alcazaba(url)]


def _our_idempotency(url: str | None, call: Call, namespace: str) -> list[Variant]:
    policy = EndpointPolicy(idempotency=Idempotency(key="client", max_records=ours.NEVER_FULL))
    return [
        Variant(
            name,
            ours.protected(ours.settings(policy, url, namespace=f"{namespace}{len(layers or ())}"), layers=layers),
            call,
            config=f'Idempotency(key="client"); layers={layers}',
            side="ours",
        )
        for name, layers in (("forecourt", ("errors", "idempotency")), (f"forecourt, {_AND_OBSERVERS}", None))
    ]
