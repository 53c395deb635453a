"""Figures of a run: what is derived, what wins, which targets are met, and that the docs are what the JSON says."""

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import charts, docs, report, targets
from benchmarks.repeated import AGREEMENT, agreement, joined
from benchmarks.results import Figure, Group, Row, Run, Table

FLOOR = Row("alone", [10.0, 20.0, 10.0], side="base")
PEER = Row("a peer", [30.0, 40.0, 30.0], "its README")
SLOW = Row("a slow peer", [90.0, 99.0, 90.0])
OURS = Row("forecourt", [15.0, 25.0, 15.0], "a limit", "ours", p99=50.0, trips=1.0, commands={"EVALSHA": 1.0})


def table(*rows: Row, **fields: object) -> Table:
    """Return a table of rows over the floor."""
    return Table("memory", "In memory", [FLOOR, *rows], **{"floor": "alone", **fields})  # type: ignore[arg-type]


def run_of(*tables: Table) -> Run:
    """Return a run of one group."""
    return Run({"cores": "2"}, {"forecourt": "1"}, [Group("rate_limit", "Limits", "About.", list(tables), ["nothing"])])


def test_figures_are_medians_with_an_interval() -> None:
    """Of twelve rounds it is the third to the tenth, so that two outliers move nothing; of six or fewer it has all."""
    assert Figure.of([*range(1, 11), 100, 1000]) == (6.5, 3, 10)
    assert Figure.of([6, 2, 3, 4, 5, 1]) == (3.5, 1, 6)
    assert Figure.of([7]) == (7, 7, 7)


@pytest.mark.parametrize("rounds", [6, 7, 8, 12, 26])
def test_the_interval_holds_the_median_with_its_certainty(rounds: int) -> None:
    """Of all ways in which the rounds can lie about the true median 95 % have it inside; of a narrower one fewer."""
    low, high = Figure.of(range(rounds))[1:]

    def certainty(lowest: float, highest: float) -> float:
        inside = range(round(lowest) + 1, round(highest) + 1)
        return sum(math.comb(rounds, below) for below in inside) / (1 << rounds)

    assert certainty(low, high) >= 0.95
    assert low == rounds - 1 - high
    assert certainty(low + 1, high - 1) < 0.95


def test_what_is_added_is_taken_round_by_round() -> None:
    """A round in which all were slow changes neither what is added nor the ratio."""
    shown = table(PEER, OURS)
    assert shown.over_floor(PEER) == [20, 20, 20]
    assert shown.ratios(OURS, PEER) == [0.25, 0.25, 0.25]


def test_a_ratio_to_the_floor_is_of_whole_values() -> None:
    """Nothing can be divided by what the floor adds to itself."""
    assert table(PEER).ratios(PEER, FLOOR) == [3, 2, 3]


def test_cpu_is_compared_where_the_table_says_so() -> None:
    """Then the times play no part."""
    rows = [Row("one", [1.0], cpu=[8.0]), Row("two", [9.0], cpu=[2.0])]
    assert Table("k", "t", rows, by="cpu").ratios(rows[0], rows[1]) == [4]


def test_the_best_peer_is_neither_ours_nor_the_floor() -> None:
    """The cheapest peer, or the one with the highest figure where more is better."""
    assert table(SLOW, PEER, OURS).best_peer() == PEER
    assert table(SLOW, PEER, OURS, better="more").best_peer() == SLOW
    assert table(OURS).best_peer() is None


def test_losing_is_said_only_beyond_the_noise() -> None:
    """A row of ours that is worse with all of its interval loses; one that is worse in some rounds does not."""
    worse = Row("ours", [60.0, 70.0, 60.0], side="ours")
    wavering = Row("ours", [20.0, 20.0, 90.0], side="ours")
    assert [(ours.name, peer.name) for ours, peer, _ in table(PEER, worse).lost()] == [("ours", "a peer")]
    assert table(PEER, wavering).lost() == []
    assert table(PEER, OURS).lost() == []
    assert "forecourt loses here: 'ours' costs 2.50 times what 'a peer' does" in report.losses(table(PEER, worse))


def test_a_missing_row_or_table_is_named() -> None:
    """The error names what there is."""
    with pytest.raises(KeyError, match="no row 'x', only"):
        table(PEER).row("x")
    with pytest.raises(KeyError, match="no table 'x'"):
        run_of(table(PEER)).table("rate_limit", "x")
    with pytest.raises(KeyError, match="no group 'x'"):
        run_of(table(PEER)).table("x", "memory")


def test_a_run_survives_json_and_carries_what_is_derived() -> None:
    """Every printed figure is in the JSON, and reading it back gives the same run."""
    run = run_of(table(PEER, OURS))
    document = json.loads(json.dumps(run.to_json()))
    derived = document["groups"][0]["tables"][0]["rows"][2]["derived"]
    assert derived["added"]["median"] == 5
    assert derived["ratio"] == {"median": 0.25, "low": 0.25, "high": 0.25}
    assert derived["ratio_to"] == "a peer"
    assert Run.from_json(document) == run


@pytest.mark.parametrize(
    ("rounds", "at_most", "verdict"),
    [
        ([0.4, 0.5, 0.5], True, "met"),
        ([0.4, 0.6, 0.7], True, "within noise"),
        ([0.6, 0.6, 0.7], True, "missed"),
        ([0.6, 0.6, 0.7], False, "met"),
        ([0.4, 0.45, 0.7], False, "within noise"),
        ([0.3, 0.4, 0.4], False, "missed"),
    ],
)
def test_a_target_is_missed_only_beyond_the_noise(
    monkeypatch: pytest.MonkeyPatch, rounds: list[float], at_most: bool, verdict: str
) -> None:
    """The median decides whether it is met, the interval whether it is missed."""
    target = targets.Target("a ratio", 0.5, lambda _run: rounds, at_most)
    monkeypatch.setattr(targets, "TARGETS", (target,))
    (found,) = targets.check(run_of(table(PEER)))
    assert found.verdict == verdict
    assert verdict in str(found)


def test_what_was_not_measured_is_no_miss() -> None:
    """A run of one group judges only the targets that it has figures for."""
    verdicts = {verdict.text: verdict.verdict for verdict in targets.check(run_of(table(PEER, OURS)))}
    assert set(verdicts.values()) == {"not measured"}
    ours = Row("forecourt, one limit, that layer alone", [15.0, 25.0, 15.0], side="ours")
    found = {verdict.text: verdict for verdict in targets.check(run_of(table(PEER, ours)))}
    assert found["the rate limit layer alone in memory / the best peer"].verdict == "met"
    assert found["the rate limit layer alone in memory / the best peer"].figure == (0.25, 0.25, 0.25)


def test_the_page_shows_every_figure_and_says_where_it_is_from(tmp_path: Path) -> None:
    """Tables, losses, configurations, what is missing, machine, versions, and a chart that is there."""
    worse = Row("ours, worse", [60.0, 70.0, 60.0], side="ours")
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "gone.svg").write_text("old", "utf-8")
    docs.write(run_of(table(PEER, OURS, worse)), tmp_path)
    page = (tmp_path / "performance.md").read_text("utf-8")
    for words in (
        "| **forecourt** | 15.0 | 5.00 [5.00–5.00] | 0.25 [0.25–0.25] | 50.0 | 1 | 1 EVALSHA |",
        "forecourt loses here: 'ours, worse'",
        "- a peer: its README",
        "- nothing",
        "cores: 2",
        "| forecourt | 1 |",
        "group `rate_limit`, table `memory`",
    ):
        assert words in page
    assert [chart.name for chart in (tmp_path / "charts").iterdir()] == ["rate_limit-memory.svg"]
    assert f"charts/{'rate_limit-memory.svg'}" in page
    again = Run.from_json(json.loads((tmp_path / "performance.json").read_text("utf-8")))
    assert docs.page(again) == page


def test_a_chart_is_one_bar_per_row_in_proportion() -> None:
    """The floor has no bar; names are escaped; widths go by what is added; it knows dark pages."""
    text = charts.svg(table(PEER, Row("<ours> & more", [20.0, 30.0, 20.0], side="ours")))
    root = ET.fromstring(text)
    bars = [each for each in root.iter() if each.tag.endswith("rect") and each.get("class") != "page"]
    assert [bar.get("class") for bar in bars] == ["peer", "ours"]
    peer, ours = (float(bar.get("width") or 0) for bar in bars)
    assert ours == pytest.approx(peer / 2)
    assert "prefers-color-scheme: dark" in text


def test_the_page_in_the_docs_is_what_its_json_says() -> None:
    """Nobody has edited it by hand, and the code that writes it has not changed since."""
    directory = Path(__file__).parents[2] / "docs"
    run = Run.from_json(json.loads((directory / "performance.json").read_text("utf-8")))
    assert (directory / "performance.md").read_text("utf-8") == docs.page(run)
    for group in run.groups:
        for shown in group.tables:
            chart = directory / "charts" / f"{group.name}-{shown.key}.svg"
            assert chart.exists() == shown.chart
            assert not shown.chart or chart.read_text("utf-8") == charts.svg(shown)


def test_two_runs_agree_within_their_intervals() -> None:
    """A ratio of another phase of the machine does not agree; one within the noise, or within a hundredth, does."""
    near = Row("forecourt", [15.4, 25.0, 15.6], side="ours")
    weighed = Row("forecourt", [15.02, 25.02, 15.02], side="ours")
    far = Row("forecourt", [25.0, 35.0, 25.0], side="ours")
    one = run_of(table(PEER, SLOW, OURS))
    assert agreement(one, one)[:3] == (2, 2, 0.0)
    assert agreement(one, run_of(table(PEER, SLOW, near))).agree == 2
    assert agreement(one, run_of(table(PEER, SLOW, weighed))).agree == 2
    apart = agreement(one, run_of(table(PEER, SLOW, far)))
    assert (apart.ratios, apart.agree) == (2, 1)
    assert [apart.half, apart.nine_of_ten] == pytest.approx([1 / 3, 2 / 3])


def test_joined_runs_have_the_rounds_of_all() -> None:
    """Their intervals are of all rounds, and the page says how far the runs agree."""
    one = run_of(table(PEER, OURS))
    both = joined([one, one])
    assert both.table("rate_limit", "memory").row("forecourt").rounds == OURS.rounds * 2
    assert both.machine[AGREEMENT] in docs.page(both)
    assert "Run to run" not in docs.page(joined([one]))


def test_a_run_measures_all_groups_in_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """One group after the other, then again; the rounds are those of all passes, and a group that fails is left out."""
    asked: list[str] = []

    def group(name: str, *, quick: bool) -> Group | None:
        asked.append(name)
        shown = replace(run_of(table(PEER, OURS)).groups[0], name=name)
        return None if name == "auth" and len(asked) > 2 else shown

    monkeypatch.setattr(command, "_group", group)
    run, failed = command._measure(["auth", "db"], quick=True)
    assert asked == ["auth", "db", "auth", "db"]
    assert failed == ["auth"]
    assert [each.name for each in run.groups] == ["db"]
    assert run.table("db", "memory").row("forecourt").rounds == OURS.rounds * 2


def test_runs_of_other_groups_are_not_joined() -> None:
    """What one of them did not measure cannot be compared."""
    with pytest.raises(ValueError, match="did not measure rate_limit"):
        joined([run_of(table(PEER, OURS)), Run({}, {}, [])])
