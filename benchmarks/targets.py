"""The targets of the design, and whether a run meets them.

A target is a ratio that must not be above (or, for throughput kept, below) a bound. It is missed when the ratio is on
the wrong side of the bound with all of its interval: by more than the run's own noise. Targets of layers that do not
exist yet are listed as such, and become checks when their rows exist.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.results import Figure, Row, Run, Table


@dataclass(frozen=True)
class Target:
    """One line of the design's table; `ratio` finds the figure per round, KeyError or None while there is none."""

    text: str
    bound: float
    ratio: Callable[[Run], list[float] | None]
    at_most: bool = True


@dataclass(frozen=True)
class Verdict:
    """What became of a target."""

    text: str
    bound: float
    at_most: bool
    figure: Figure | None
    verdict: Literal["met", "missed", "within noise", "not measured"]

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        if self.figure is None:
            return f"{self.verdict:>12}  {self.text} {sign} {self.bound:g}"
        low, high = self.figure.low, self.figure.high
        return (
            f"{self.verdict:>12}  {self.text}: {self.figure.median:.3f} [{low:.3f}–{high:.3f}], {sign} {self.bound:g}"
        )


def check(run: Run) -> list[Verdict]:
    """Return a verdict for every target."""
    return [_verdict(target, run) for target in TARGETS]


def _verdict(target: Target, run: Run) -> Verdict:
    try:
        rounds = target.ratio(run)
    except KeyError:
        rounds = None
    if rounds is None:
        return Verdict(target.text, target.bound, target.at_most, None, "not measured")
    figure = Figure.of(rounds)
    if target.at_most:
        good, bad = figure.median <= target.bound, figure.low > target.bound
    else:
        good, bad = figure.median >= target.bound, figure.high < target.bound
    verdict: Literal["met", "missed", "within noise"] = "met" if good else "missed" if bad else "within noise"
    return Verdict(target.text, target.bound, target.at_most, figure, verdict)


def _of(group: str, key: str, one: str, other: str) -> Callable[[Run], list[float]]:
    def ratio(run: Run) -> list[float]:
        table = run.table(group, key)
        return table.ratios(table.row(one), table.row(other))

    return ratio


def _best(group: str, key: str, one: str) -> Callable[[Run], list[float] | None]:
    def ratio(run: Run) -> list[float] | None:
        table = run.table(group, key)
        best = table.best_peer()
        return None if best is None else table.ratios(table.row(one), best)

    return ratio


def _across(group: str, one: tuple[str, str], other: tuple[str, str]) -> Callable[[Run], list[float]]:
    """Compare what is added in two tables that were measured in turns with each other."""

    def ratio(run: Run) -> list[float]:
        added = [_added(run.table(group, key), name) for key, name in (one, other)]
        return [big / small for big, small in zip(*added, strict=True)]

    return ratio


def _added(table: Table, name: str) -> list[float]:
    return table.over_floor(table.row(name))


def _added_by(group: str, key: str, one: str, other: str) -> Callable[[Run], list[float]]:
    """Compare what two rows of a table add to its floor."""
    return _across(group, (key, one), (key, other))


def _trips(group: str, key: str, name: str) -> Callable[[Run], list[float] | None]:
    def ratio(run: Run) -> list[float] | None:
        row: Row = run.table(group, key).row(name)
        return None if row.trips is None else [row.trips]

    return ratio


def _further(group: str, key: str, one: str, many: str, further: int, base: str) -> Callable[[Run], list[float]]:
    """Return what each further operation takes, in units of the base."""

    def ratio(run: Run) -> list[float]:
        table = run.table(group, key)
        first, last = (table.ratios(table.row(name), table.row(base)) for name in (one, many))
        return [(all_of_them - alone) / further for alone, all_of_them in zip(first, last, strict=True)]

    return ratio


def _bytes(group: str, key: str, name: str) -> Callable[[Run], list[float]]:
    def ratio(run: Run) -> list[float]:
        return run.table(group, key).row(name).rounds

    return ratio


def _known_token(run: Run) -> list[float]:
    """Compare what the policy adds to the stack with what the peer adds to the app."""
    table = run.table("auth", "auth")
    names = ("forecourt, known token, HS256", "forecourt, no policy", "PyJWT HS256")
    ours, bare, peer = (table.over_floor(table.row(name)) for name in names)
    return [(one - other) / theirs for one, other, theirs in zip(ours, bare, peer, strict=True)]


_ALONE = "forecourt, one limit, that layer alone"

_OTEL = "OpenTelemetry ASGI, "

TARGETS = (
    Target(
        "whole stack in memory, added / one no-op BaseHTTPMiddleware",
        0.35,
        _of("assembly", "get", "forecourt, memory", "one no-op BaseHTTPMiddleware"),
    ),
    Target(
        "whole stack on Valkey, added / typical assembly added",
        0.10,
        _of("assembly", "get", "forecourt, Valkey", "typical assembly"),
    ),
    Target(
        "whole stack with a recorded span / OTel ASGI alone with its defaults",
        0.9,
        _of("observers", "tracing", "forecourt, the whole stack, sampled", "OpenTelemetry ASGI, defaults"),
    ),
    Target("trips to the store of a GET", 1, _trips("assembly", "get", "forecourt, Valkey")),
    Target(
        "trips to the store of an idempotent POST", 2, _trips("assembly", "get", "forecourt, Valkey, idempotent POST")
    ),
    Target(
        "CPU per decision at 64 tasks / one redis-py EVALSHA",
        0.15,
        _of("store", "tasks_64", "forecourt, the whole store", "redis-py EVALSHA"),
    ),
    Target(
        "CPU per decision at 1 task / one redis-py EVALSHA",
        0.4,
        _of("store", "tasks_1", "forecourt, the whole store", "redis-py EVALSHA"),
    ),
    Target("server time of one decision / INCRBY", 14, _of("store", "server", "1 token bucket", "INCRBY")),
    Target(
        "server time of each further operation / INCRBY",
        8,
        _further("store", "server", "1 token bucket", "6 token buckets", 5, "INCRBY"),
    ),
    Target("bytes per token bucket", 140, _bytes("store", "bytes", "a token bucket")),
    Target(
        "req/s of bare FastAPI kept, in memory (uvicorn, 1 worker)",
        0.70,
        _of("e2e", "uvicorn_1", "forecourt, memory", "FastAPI alone"),
        at_most=False,
    ),
    Target(
        "req/s of bare FastAPI kept, on Valkey (uvicorn, 1 worker)",
        0.65,
        _of("e2e", "uvicorn_1", "forecourt, Valkey", "FastAPI alone"),
        at_most=False,
    ),
    Target(
        "a cache hit / the uncached request, 1 KB",
        0.25,
        _of("peers", "cache_hit_memory", "forecourt, 1 KB", "FastAPI alone"),
    ),
    Target(
        "a cache hit of 100 KB / one of 1 KB",
        2,
        _of("peers", "cache_hit_memory", "forecourt, 100 KB", "forecourt, 1 KB"),
    ),
    Target(
        "added at 1,000 routes / at 1 route, bare ASGI",
        1.2,
        _across("bases", ("asgi_1000", "forecourt, one limit"), ("asgi_1", "forecourt, one limit")),
    ),
    Target(
        "added at 1,000 routes / at 1 route, FastAPI (first route)",
        1.2,
        _across("bases", ("fastapi_1000_first", "forecourt, one limit"), ("fastapi_1", "forecourt, one limit")),
    ),
    Target("auth of a known token, added to the stack / what Depends and PyJWT HS256 add", 0.05, _known_token),
    Target("the rate limit layer alone in memory / the best peer", 0.5, _best("rate_limit", "memory", _ALONE)),
    Target("the rate limit layer alone on Valkey / the best peer", 0.5, _best("rate_limit", "valkey", _ALONE)),
    Target(
        "the rate limit layer alone on Valkey at 64 tasks / the best peer (CPU)",
        0.5,
        _best("rate_limit", "valkey_64", _ALONE),
    ),
    Target(
        "tracing sampled off / OTel ASGI sampled off",
        0.5,
        _of("observers", "tracing", "forecourt, tracing, sampled off", f"{_OTEL}sampled off"),
    ),
    Target("metrics / the best peer", 0.25, _best("observers", "metrics", "forecourt, metrics")),
    Target("access log / the best peer", 0.4, _best("observers", "logs", "forecourt, logging")),
    Target("the breaker / the cheapest peer", 1.5, _best("peers", "breaker", "forecourt")),
    Target("the breaker / interlock-cb", 0.5, _added_by("peers", "breaker", "forecourt", "interlock-cb")),
    Target("sealing 16 kB at rest / MultiFernet", 0.2, _of("sealing", "sealing_16384", "forecourt", "MultiFernet")),
    Target(
        "publications a second, one caller / the best peer", 1.5, _best("jobs", "publish_1", "forecourt"), at_most=False
    ),
    Target(
        "publications a second, 32 callers / the best peer",
        1.5,
        _best("jobs", "publish_32", "forecourt"),
        at_most=False,
    ),
    Target("publish one job, between other work / the best peer", 0.667, _best("jobs", "publish", "forecourt")),
    Target("jobs a second / the best peer", 3, _best("jobs", "rate", "forecourt"), at_most=False),
)
"""Design §8, in its order. The stack is what exists of it: see what the rows of ours contain."""
