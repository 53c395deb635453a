"""Walks a bench through a drawn history, so that laws can be checked at every state it reaches."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.core.bench import GIVING_BACK, Bench, Limit, Move, Standing, passing


class Asked(NamedTuple):
    """One call of a history: the bench as it was before, what was asked, and the answer."""

    before: Bench
    limit: Limit
    cost: int
    shadow: int
    standing: Standing
    lived: int
    """How many µs have truly passed since the history began: a clock set back is wrong, time is not."""


def walk(limits: Sequence[Limit], moves: Sequence[Move], *, honest: bool = False) -> Iterator[Asked]:
    """Yield every call of a history; in `honest` ones the clock is never set back.

    With more than one set of parameters a step may go on with the next of them.
    """
    bench = Bench(limits[0].kind)
    at = lived = 0
    last: Standing | None = None
    granted: tuple[int, tuple[int, ...]] | None = None
    for move in moves:
        limit = limits[at % len(limits)]
        step = passing(move, limit.span, last)
        if honest:
            step = abs(step)
        bench.now += step
        lived += max(0, step)
        at += move.change
        if move.back and granted and limit.kind in GIVING_BACK:
            bench.back(*limit.back(*granted))
        before = bench.later(0)
        last = bench.ask(*limit.args(move.cost, int(move.shadow)))
        if last.passed and not move.shadow:
            granted = move.cost, last.tickets
        yield Asked(before, limit, move.cost, int(move.shadow), last, lived)
