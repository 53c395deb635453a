"""Peers of the layers that forecourt does not have yet, each alone on one FastAPI route: what to beat."""

import tempfile

from benchmarks.apps import fastapi
from benchmarks.bench import Bench
from benchmarks.calls import Call
from benchmarks.harness import Variant
from benchmarks.peers import auth, breakers, caches, idempotency
from benchmarks.peers.parts import Part, alone
from benchmarks.results import Table

TITLE = "Peers of layers to come"
ABOUT = (
    "Authentication, caches, idempotency and breakers of other packages, each alone "
    "on one FastAPI route that answers 1 KB. forecourt has none of these layers yet; its rows join these "
    "tables as they land."
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
    tables = [
        await _table(bench, "auth", "Authentication by a bearer token", _auth(), reference="PyJWT HS256"),
    ]
    for where, place in (("memory", None), ("valkey", url)):
        for what in ("hit", "miss"):
            with tempfile.TemporaryDirectory() as directory:
                parts = _caches(place, directory)
                call = Call() if what == "hit" else _MISS
                title = f"Cache, {what}, 1 KB, {'in memory (hishel: SQLite)' if place is None else 'on Valkey'}"
                variants = [alone(part, call) for part in parts]
                count, hit = place is not None, what == "hit"
                tables.append(
                    await _table(bench, f"cache_{what}_{where}", title, variants, call, count=count, instead=hit)
                )
    for where, place in (("memory", None), ("valkey", url)):
        for what, call in (("first", idempotency.FIRST), ("replay", idempotency.REPLAY)):
            variants = [alone(part, call) for part in _idempotency(place)]
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
    reference: str = "",
    count: bool = False,
    instead: bool = False,
) -> Table:
    floor = Variant(FLOOR, fastapi(), call or Call(), side="base")
    rows = await bench.measure(title, [floor, *variants], count=count)
    if instead:
        return Table(key, f"{title}: a ratio to the call without it", rows, reference=FLOOR)
    return Table(key, title, rows, floor=FLOOR, reference=reference)


def _auth() -> list[Variant]:
    algorithms = ("HS256", "RS256", "ES256")
    parts = [auth.pyjwt(each) for each in algorithms] + [auth.joserfc_part(each) for each in algorithms]
    return [alone(part) for part in (*parts, auth.starlette())]


def _caches(url: str | None, directory: str) -> list[Part]:
    parts = [
        caches.fastapi_cache2(url),
        caches.cashews_part(url),
        caches.hishel_part(url, directory),
        caches.alcazaba(url),
    ]
    return [*parts, caches.redis_sdk(url)] if url else parts


def _idempotency(url: str | None) -> list[Part]:
    return [idempotency.asgi_idempotency_header(url), idempotency.alcazaba(url)]
