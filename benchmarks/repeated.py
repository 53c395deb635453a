"""Several passes or runs as one, and how far runs agree.

A machine that others use too is fast for some minutes and slow for others; rounds that follow each other hide that. So
a run measures everything in passes, minutes apart, and its intervals are of the rounds of all passes; runs are joined
in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from benchmarks.results import Figure, Group, Row, Run, Table

AGREEMENT = "run to run"
"""Under this word the machine of joined runs says how far they agree."""

CLOSE = 0.01
"""Two medians that differ by no more than this share of the larger one agree: what is weighed once shows no noise."""


class Agreement(NamedTuple):
    """Of how many ratios, how many agree in two runs, and by what share their medians differ: half, nine of ten."""

    ratios: int
    agree: int
    half: float
    nine_of_ten: float

    def __str__(self) -> str:
        return (
            f"of {self.ratios} ratios {self.agree} agree (their intervals overlap, or their medians differ by no more "
            f"than {CLOSE:.0%}); half of the medians differ by {self.half:.0%} or less, nine of ten by "
            f"{self.nine_of_ten:.0%} or less"
        )


def joined(runs: Sequence[Run]) -> Run:
    """Return the rounds of all runs as one run; ValueError or KeyError where they did not measure the same."""
    first, *others = runs
    if not others:
        return first
    groups = [whole([group, *(_named(other, group) for other in others)]) for group in first.groups]
    told = "; ".join(str(agreement(first, other)) for other in others)
    return replace(first, machine={**first.machine, AGREEMENT: told}, groups=groups)


def whole(passes: Sequence[Group]) -> Group:
    """Return a group with the rounds of all its passes; KeyError where they did not measure the same."""
    first, *others = passes
    tables = [_table(table, [each.table(table.key) for each in others]) for table in first.tables]
    return replace(first, tables=tables)


def agreement(one: Run, other: Run) -> Agreement:
    """Compare the ratios of two runs of the same."""
    pairs = [pair for group in one.groups for pair in _pairs(group, _named(other, group))]
    apart = sorted(abs(a.median - b.median) / (max(abs(a.median), abs(b.median)) or 1) for a, b in pairs)
    agree = sum(_agree(a, b) for a, b in pairs)
    return Agreement(len(pairs), agree, median(apart), apart[int(len(apart) * 0.9)])


def _agree(one: Figure, other: Figure) -> bool:
    overlap = one.low <= other.high and other.low <= one.high
    return overlap or abs(one.median - other.median) <= CLOSE * max(abs(one.median), abs(other.median))


def _pairs(group: Group, other: Group) -> Iterator[tuple[Figure, Figure]]:
    for table in group.tables:
        base, again = table.compared_to(), other.table(table.key)
        for row in table.rows:
            if base is not None and row.name not in (base.name, table.floor):
                yield _ratio(table, row.name, base.name), _ratio(again, row.name, base.name)


def _ratio(table: Table, name: str, base: str) -> Figure:
    return Figure.of(table.ratios(table.row(name), table.row(base)))


def _named(run: Run, group: Group) -> Group:
    for each in run.groups:
        if each.name == group.name:
            return each
    raise ValueError(f"a run did not measure {group.name}")


def _table(table: Table, others: Sequence[Table]) -> Table:
    return replace(table, rows=[_row(row, [each.row(row.name) for each in others]) for row in table.rows])


def _row(row: Row, others: Sequence[Row]) -> Row:
    rounds = [figure for each in (row, *others) for figure in each.rounds]
    cpu = [figure for each in (row, *others) for figure in each.cpu]
    p99 = None if row.p99 is None else max(each.p99 or 0.0 for each in (row, *others))
    return replace(row, rounds=rounds, cpu=cpu, p99=p99)
