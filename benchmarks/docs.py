"""Writes docs/performance.md and its charts from a run; every figure in it is in docs/performance.json too."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks import charts, report, targets
from benchmarks.repeated import AGREEMENT
from benchmarks.results import Group, Run, Table

_INTRO = """\
<!-- Written by `scripts/bench --docs`. Change the benchmarks, not this file. -->

# Performance

What forecourt adds to a request, beside other packages, each set up as its own README says. Absolute figures hold on no
other machine; the ratios are the point. Make this page anew on yours: `scripts/bench --docs`; look at one group:
`scripts/bench --quick rate_limit`.

**How it is measured.** ASGI apps are called in process on uvloop, one call at a time unless a table says otherwise.
Variants take short turns of a few calls each, in another order each time, so that a busy machine is busy for all of
them; a round has several turns, and its figure is the median of a variant's calls in all of them. Everything is
measured in two passes, one after the other, as a shared machine is fast for some minutes and slow for others. *Added*
is over the same app without the package, in the same round; a ratio (÷) is of what is added, in the same round. Shown
are the median over the rounds and, in brackets, the interval that holds it with a certainty of 95 % (of fewer than six
rounds the lowest to the highest): the noise. *p99* is of all calls. *CPU* is of this process, threads included. *Trips*
are the server's reads from a connection per call (commands sent together are one trip), *commands* what it was sent;
commands inside scripts are not counted. A variant that answers another status than it should stops the run.
"""


def write(run: Run, directory: Path) -> None:
    """Write the page, its JSON and its charts; charts of tables that are gone are removed."""
    shown = directory / "charts"
    shown.mkdir(parents=True, exist_ok=True)
    for old in shown.glob("*.svg"):
        old.unlink()
    for group in run.groups:
        for table in group.tables:
            if table.chart:
                (shown / f"{group.name}-{table.key}.svg").write_text(charts.svg(table), "utf-8")
    (directory / "performance.json").write_text(run.dumps(), "utf-8")
    (directory / "performance.md").write_text(page(run), "utf-8")


def page(run: Run) -> str:
    """Return the page; of several runs it says how far they agree."""
    groups = (line for group in run.groups for line in _group(group))
    return "\n".join([_INTRO, *_repeated(run), *_targets(run), *groups, *_setting(run)])


def _repeated(run: Run) -> Iterator[str]:
    if run.machine.get(AGREEMENT):
        yield "**Run to run.** Here are the rounds of several runs, made one after the other: the intervals are of all."
        yield f"Each by itself: {run.machine[AGREEMENT]}.\n"


def _targets(run: Run) -> Iterator[str]:
    yield "## Targets\n"
    yield "Checked by `scripts/bench --check`: a target is missed when all of the interval misses it.\n"
    yield "| target | bound | this run [interval] | |"
    yield "|---|--:|--:|---|"
    for verdict in targets.check(run):
        bound = f"{'≤' if verdict.at_most else '≥'} {verdict.bound:g}"
        figure = "–"
        if verdict.figure:
            low, high = verdict.figure.low, verdict.figure.high
            figure = f"{verdict.figure.median:.3f} [{low:.3f}–{high:.3f}]"
        said = {"missed": "**missed**", "not measured": "not yet: its layer does not exist"}
        yield f"| {verdict.text} | {bound} | {figure} | {said.get(verdict.verdict, verdict.verdict)} |"
    yield ""


def _group(group: Group) -> Iterator[str]:
    yield f"## {group.title}\n"
    yield f"{group.about}\n"
    for table in group.tables:
        yield from _table(group, table)
    configs = {row.name: row.config for table in group.tables for row in table.rows if row.config}
    if configs:
        yield "Configuration:\n"
        yield from (f"- {name}: {config}" for name, config in configs.items())
        yield ""
    if group.missing:
        yield "Not measured:\n"
        yield from (f"- {line}" for line in group.missing)
        yield ""


def _table(group: Group, table: Table) -> Iterator[str]:
    yield f"### {table.title}\n"
    if table.about:
        yield f"{table.about}\n"
    if table.chart:
        yield f"![{table.title}](charts/{group.name}-{table.key}.svg)\n"
    names = report.header(table)
    yield f"| {' | '.join(names)} |"
    yield f"|---|{'--:|' * (len(names) - 1)}"
    for row in table.rows:
        cells = report.cells(table, row)
        if row.side == "ours":
            cells = [f"**{cells[0]}**", *cells[1:]]
        yield f"| {' | '.join(cells)} |"
    yield ""
    for line in report.losses(table):
        yield f"**{line}.**\n"
    yield from (f"- {row.name}: {row.note}" for row in table.rows if row.note)
    yield f"In `performance.json`: group `{group.name}`, table `{table.key}`.\n"


def _setting(run: Run) -> Iterator[str]:
    yield "## Machine and versions\n"
    yield ", ".join(f"{name}: {value}" for name, value in run.machine.items() if name != AGREEMENT) + ".\n"
    yield "| package | version |\n|---|---|"
    yield from (f"| {name} | {version} |" for name, version in run.versions.items())
    yield ""
    yield "Known conflicts: the `redis` extras of slowapi, fastapi-cache2, asgi-idempotency-header, limits and"
    yield "throttled-py ask for an older redis-py than fastapi-redis-sdk and hishel work with, so all run without those"
    yield "extras on the redis-py above; limits' asynchronous storage so uses redis-py, not its default, coredis."
    yield "fastapi-cache2 imports jinja2 without asking for it; it is installed beside it."
    yield ""
