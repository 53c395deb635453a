"""What the stack adds to bare ASGI, Starlette and FastAPI apps of 1, 50 and 1,000 routes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import ours
from benchmarks.apps import bare, fastapi, other_paths, starlette
from benchmarks.bench import Bench
from benchmarks.harness import Variant
from benchmarks.results import Row, Table

TITLE = "Base apps, and the number of routes"
ABOUT = (
    "The whole stack in memory over three kinds of app. The route that is asked is the last one, where a "
    "router that looks at one after the other is slowest, or where the table says so the first one, where it "
    "is fastest. A bare ASGI app has no routes: they are given in the config."
)

FLOOR = "alone"
_NUMBERS = (1, 50, 1000)


async def run(bench: Bench) -> list[Table]:
    """Measure all in turns, so that tables can be compared with each other."""
    kinds: list[tuple[str, str, Callable[[], Any], dict[str, Any]]] = []
    for routes in _NUMBERS:
        patterns = {f"thing{at}": f"GET {path}" for at, path in enumerate(other_paths(routes))}
        patterns["get_record"] = "GET /records/{record_id}"
        kinds += [
            (f"asgi_{routes}", f"Bare ASGI, {routes:,} routes in the config", bare, {"routes": patterns}),
            (f"starlette_{routes}", f"Starlette, last of {routes:,} routes", partial(starlette, routes), {}),
            (f"fastapi_{routes}", f"FastAPI, last of {routes:,} routes", partial(fastapi, routes), {}),
        ]
    kinds.append(("fastapi_1000_first", "FastAPI, first of 1,000 routes", partial(fastapi, 1000, first=True), {}))
    variants = [variant for kind in kinds for variant in _variants(*kind)]
    rows = await bench.measure("bases", variants)
    each = len(rows) // len(kinds)
    return [_table(kind, rows[at * each : (at + 1) * each]) for at, kind in enumerate(kinds)]


def _variants(_key: str, _title: str, app: Callable[[], Any], fields: dict[str, Any]) -> list[Variant]:
    return [
        Variant(FLOOR, app(), side="base"),
        Variant(
            "forecourt, no policy", ours.protected(ours.config(**fields), app()), config="EndpointPolicy()", side="ours"
        ),
        Variant(
            "forecourt, one limit",
            ours.protected(ours.config(ours.admitting(), **fields), app()),
            config="one TokenBucket by principal, in memory",
            side="ours",
        ),
    ]


def _table(kind: tuple[str, str, Any, Any], rows: list[Row]) -> Table:
    return Table(kind[0], kind[1], rows, floor=FLOOR, reference=FLOOR, chart=False)
