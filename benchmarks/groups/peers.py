"""Peers of the layers that forecourt does not have yet, each alone on one FastAPI route: what to beat."""

import tempfile

from benchmarks import ours
from benchmarks.apps import KB, fastapi
from benchmarks.bench import Bench
from benchmarks.calls import Call
from benchmarks.harness import Variant
from benchmarks.peers import breakers, caches, idempotency
from benchmarks.peers.parts import Part, alone
from benchmarks.results import Table
from forecourt import Cache, EndpointPolicy, Idempotency, JobConfig

TITLE = "Peers of layers to come"
ABOUT = (
    "Caches, idempotency and breakers of other packages, each alone "
    "on one FastAPI route that answers 1 KB. forecourt's rows join these tables as its layers land."
)
MISSING = [
    "cashews has no replay of idempotency keys, hishel keeps no memory store: absent from those tables.",
    "interlock-cb and pybreaker are measured around a call, as their READMEs use them, not as a layer.",
]

FLOOR = "FastAPI alone"
_MISS = Call(path="/records/{}")


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
                variants = [*(alone(part, call) for part in parts), *_own_caches(place, what, call)]
                count, hit = place is not None, what == "hit"
                tables.append(
                    await _table(bench, f"cache_{what}_{where}", title, variants, call, count=count, instead=hit)
                )
    for where, place in (("memory", None), ("valkey", url)):
        for what, call in (("first", idempotency.FIRST), ("replay", idempotency.REPLAY)):
            variants = [*(alone(part, call) for part in _idempotency(place)), _our_idempotency(place, call, what)]
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
    """Return our cache alone; for hits with 100 KB too."""
    sizes = {"1 KB": KB, "100 KB": 100 * KB} if what == "hit" else {"1 KB": KB}
    cache = EndpointPolicy(cache=Cache(ttl=3600, tags={"record:{record_id}"}))
    return [
        Variant(
            f"forecourt, {size}",
            ours.protected(
                JobConfig(
                    store=url or ours.MEMORY,
                    namespace=f"cache{what}{number}",
                    default=EndpointPolicy(),
                    endpoints={"get_record": cache},
                ),
                fastapi(size=number),
            ),
            call,
            config='Cache(ttl=3600, tags={"record:{record_id}"}), anonymous callers share',
            side="ours",
        )
        for size, number in sizes.items()
    ]


def _idempotency(url: str | None) -> list[Part]:
    return [idempotency.asgi_idempotency_header(url), idempotency.alcazaba(url)]


def _our_idempotency(url: str | None, call: Call, namespace: str) -> Variant:
    policy = EndpointPolicy(idempotency=Idempotency(key="client", max_records=ours.NEVER_FULL))
    config = JobConfig(default=policy, store=url or ours.MEMORY, namespace=namespace)
    return Variant(
        "forecourt",
        ours.protected(config),
        call,
        config='Idempotency(key="client"), the whole stack',
        side="ours",
    )
