"""What was measured, and what follows from it: medians, spread, what was added, ratios; to JSON and back.

Variants are measured in turns, round after round, so every derived figure is computed round by round (this row less
the floor of the same round, over the reference of the same round) and then summarised: its median, and the interval
that holds the median with a certainty of 95 % as its noise.
"""

import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import accumulate
from math import comb
from typing import Any, Literal, NamedTuple

CERTAINTY = 0.95
"""With this probability the true median is inside a figure's interval, if the rounds are alike."""


class Figure(NamedTuple):
    """A median over rounds, and the interval beside it.

    Of six rounds the lowest to the highest, of twelve the third to the tenth: order statistics, by the binomial
    distribution (David and Nagaraja, Order Statistics, §7.1).
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> "Figure":
        """Summarise the figures of all rounds."""
        ranked, cut = sorted(rounds), _outside(len(rounds))
        return cls(statistics.median(ranked), ranked[cut], ranked[-1 - cut])


@cache
def _outside(rounds: int) -> int:
    """Return how many rounds at either end lie outside the interval: none where there are too few for the certainty."""
    ways = accumulate(comb(rounds, below) for below in range(rounds // 2))
    return max(sum(2 * each <= (1 - CERTAINTY) * (1 << rounds) for each in ways) - 1, 0)


Side = Literal["ours", "peer", "base"]
"""Whose a row is; a base is what there is without either."""


@dataclass(frozen=True)
class Row:
    """One variant: its figure in each round, in the unit of its table.

    `cpu`: µs of CPU per request and round, in this process. `trips` and `commands`: to the store, per request; a trip
    is one read of the server from a connection, so commands that were sent together count once.
    """

    name: str
    rounds: list[float]
    config: str = ""
    side: Side = "peer"
    p99: float | None = None
    cpu: list[float] = field(default_factory=list)
    trips: float | None = None
    commands: dict[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows that were measured in turns with each other.

    `floor` is the row that the others add to (none: they are compared as they are). `reference` is the row that
    ratios are made to; without one it is the best peer. `by`: "time" or "cpu", what is compared.
    """

    key: str
    title: str
    rows: list[Row]
    unit: str = "µs"
    floor: str = ""
    reference: str = ""
    about: str = ""
    better: Literal["less", "more"] = "less"
    by: Literal["time", "cpu"] = "time"
    chart: bool = True

    def row(self, name: str) -> Row:
        """Return the row of this name; KeyError names those there are."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{self.key}: no row {name!r}, only {[row.name for row in self.rows]}")

    def values(self, row: Row) -> list[float]:
        """Return what is compared, per round."""
        return row.cpu if self.by == "cpu" else row.rounds

    def over_floor(self, row: Row) -> list[float]:
        """Return what this row adds to the floor, per round; the value itself where there is no floor."""
        if not self.floor:
            return self.values(row)
        return _pairs(self.values(row), self.values(self.row(self.floor)), lambda value, floor: value - floor)

    def ratios(self, row: Row, other: Row) -> list[float]:
        """Return what one row adds over what another adds, per round; over the floor itself where that is the other."""
        value = self.values if other.name == self.floor else self.over_floor
        return _pairs(value(row), value(other), _ratio)

    def compared_to(self) -> Row | None:
        """Return the row that ratios are made to: the reference, else the best peer."""
        return self.row(self.reference) if self.reference else self.best_peer()

    def best_peer(self) -> Row | None:
        """Return the best row of a peer, None where there is none."""
        best = min if self.better == "less" else max
        peers = [row for row in self.rows if row.side == "peer"]
        return best(peers, key=lambda row: Figure.of(self.over_floor(row)).median, default=None)

    def lost(self) -> list[tuple[Row, Row, float]]:
        """Return our rows that are worse than the best peer, with it and by how much, beyond the noise."""
        best = self.best_peer()
        found = []
        for row in self.rows:
            if row.side == "ours" and best is not None:
                ratio = Figure.of(self.ratios(row, best))
                if ratio.low > 1 if self.better == "less" else ratio.high < 1:
                    found.append((row, best, ratio.median))
        return found


@dataclass(frozen=True)
class Group:
    """The tables of one module of `benchmarks.groups`."""

    name: str
    title: str
    about: str
    tables: list[Table]
    missing: list[str] = field(default_factory=list)

    def table(self, key: str) -> Table:
        """Return the table of this key; KeyError when it was not measured."""
        for table in self.tables:
            if table.key == key:
                return table
        raise KeyError(f"{self.name}: no table {key!r}")

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Group":
        """Read one group of what `Run.to_json` wrote; the derived figures are computed anew."""
        return cls(**{**document, "tables": [_table(table) for table in document["tables"]]})


@dataclass(frozen=True)
class Run:
    """Everything one run measured, and on what."""

    machine: dict[str, str]
    versions: dict[str, str]
    groups: list[Group]

    def table(self, group: str, key: str) -> Table:
        """Return one table; KeyError when it was not measured."""
        for each in self.groups:
            if each.name == group:
                return each.table(key)
        raise KeyError(f"no group {group!r}")

    def to_json(self) -> dict[str, Any]:
        """Return all of it, with the derived figures beside the rounds they come from."""
        document = asdict(self)
        for group, written in zip(self.groups, document["groups"], strict=True):
            for table, written_table in zip(group.tables, written["tables"], strict=True):
                best = table.compared_to()
                for row, written_row in zip(table.rows, written_table["rows"], strict=True):
                    written_row["derived"] = _derived(table, row, best)
        return document

    def dumps(self) -> str:
        """Return `to_json` as text, each list of numbers on one line."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False)
        return re.sub(r"\[[-\d.,\s]+\]", lambda found: " ".join(found[0].split()), text) + "\n"

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Run":
        """Read what `to_json` wrote; the derived figures are computed anew."""
        groups = [Group.from_json(group) for group in document["groups"]]
        return cls(document["machine"], document["versions"], groups)


def _table(document: dict[str, Any]) -> Table:
    rows = [Row(**{key: value for key, value in row.items() if key != "derived"}) for row in document["rows"]]
    return Table(**{**document, "rows": rows})


def _derived(table: Table, row: Row, best: Row | None) -> dict[str, Any]:
    derived: dict[str, Any] = {"value": _rounded(Figure.of(table.values(row)))}
    if table.floor and row.name != table.floor:
        derived["added"] = _rounded(Figure.of(table.over_floor(row)))
    if best is not None and row.name != table.floor:
        derived["ratio"] = _rounded(Figure.of(table.ratios(row, best)))
        derived["ratio_to"] = best.name
    return derived


def _ratio(one: float, two: float) -> float:
    return one / two if two else 0.0


def _rounded(figure: Figure) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figure._asdict().items()}


def _pairs(ones: Sequence[float], others: Sequence[float], combine: Callable[[float, float], float]) -> list[float]:
    return [combine(one, other) for one, other in zip(ones, others, strict=True)]
