"""Tables of ratios for a terminal."""

from benchmarks.results import Figure, Group, Row, Table


def number(value: float) -> str:
    """Return a figure with as many digits as it deserves."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(figure: Figure) -> str:
    """Return a median with its interval."""
    return f"{number(figure.median)} [{number(figure.low)}–{number(figure.high)}]"


def header(table: Table) -> list[str]:
    """Return the names of a table's columns."""
    unit = "µs CPU" if table.by == "cpu" else table.unit
    best = table.compared_to()
    return [
        "",
        unit,
        *([f"added {unit} [interval]"] if table.floor else []),
        *([f"÷ {best.name} [interval]"] if best else []),
        *(["p99"] if any(row.p99 for row in table.rows) and table.by == "time" else []),
        *(["CPU µs"] if any(row.cpu for row in table.rows) and table.by == "time" else []),
        *(["trips", "commands"] if any(row.trips is not None for row in table.rows) else []),
    ]


def cells(table: Table, row: Row) -> list[str]:
    """Return a row as text, one for each column."""
    floor = row.name == table.floor
    best = table.compared_to()
    return [
        row.name,
        number(Figure.of(table.values(row)).median),
        *(["–" if floor else spread(Figure.of(table.over_floor(row)))] if table.floor else []),
        *(["–" if floor else spread(Figure.of(table.ratios(row, best)))] if best else []),
        *([number(row.p99) if row.p99 else "–"] if "p99" in header(table) else []),
        *([number(Figure.of(row.cpu).median) if row.cpu else "–"] if "CPU µs" in header(table) else []),
        *([_trips(row), _commands(row)] if "trips" in header(table) else []),
    ]


def _trips(row: Row) -> str:
    return "–" if row.trips is None else f"{row.trips:.2g}"


def _commands(row: Row) -> str:
    return ", ".join(f"{count:.2g} {name}" for name, count in row.commands.items()) or "–"


def losses(table: Table) -> list[str]:
    """Return a line for each of our rows that is beaten."""
    word = "costs" if table.better == "less" else "reaches"
    return [
        f"forecourt loses here: {row.name!r} {word} {number(ratio)} times what {best.name!r} does"
        for row, best, ratio in table.lost()
    ]


def text(group: Group) -> str:
    """Return a group for a terminal."""
    parts = [f"\n{group.title} ({group.name})"]
    for table in group.tables:
        parts += [
            "",
            f"  {table.title} ({group.name}/{table.key})",
            *_aligned(table),
            *(f"  ! {line}" for line in losses(table)),
        ]
    parts += [f"  not measured: {line}" for line in group.missing]
    return "\n".join(parts)


def _aligned(table: Table) -> list[str]:
    lines = [header(table), *(cells(table, row) for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    marks = [" ", *("*" if row.side == "ours" else " " for row in table.rows)]
    return [
        f"  {mark} {line[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        for mark, line in zip(marks, lines, strict=True)
    ]
