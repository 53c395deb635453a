"""Bar charts as SVG, by hand: one bar per row, the interval as a whisker, legible on light and dark pages."""

from html import escape

from benchmarks.report import number
from benchmarks.results import Figure, Row, Table

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 880, 370, 90, 26, 44
_STYLE = """
  .page { fill: #ffffff } text { fill: #1f2328; font: 13px system-ui, sans-serif }
  .title { font-weight: 600 } .ours { fill: #0969da } .peer { fill: #8c959f } .base { fill: #d0d7de }
  .whisker { stroke: #1f2328; stroke-width: 1.5 } .name-ours { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .whisker { stroke: #e6edf3 }
    .ours { fill: #4493f8 } .peer { fill: #6e7681 } .base { fill: #3d444d }
  }
"""


def svg(table: Table) -> str:
    """Return a chart of what a table compares: what each row adds where there is a floor, else its value."""
    rows = [row for row in table.rows if row.name != table.floor]
    figures = [Figure.of(table.over_floor(row)) for row in rows]
    most = max((figure.high for figure in figures), default=1) or 1
    height = _TOP + _ROW * len(rows) + 10
    what = f"{'added ' if table.floor else ''}{'µs CPU' if table.by == 'cpu' else table.unit}"
    bars = [_bar(row, figure, at, most) for at, (row, figure) in enumerate(zip(rows, figures, strict=True))]
    title = escape(f"{table.title}: {what}")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}">',
            f"<title>{title}</title><style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
            f'<text class="title" x="10" y="24">{title}</text>',
            *bars,
            "</svg>\n",
        ]
    )


def _bar(row: Row, figure: Figure, at: int, most: float) -> str:
    top = _TOP + _ROW * at
    middle = top + _ROW // 2 - 2
    length, low, high = (_length(value, most) for value in (figure.median, figure.low, figure.high))
    return (
        f'<text class="name-{row.side}" x="{_LEFT - 8}" y="{middle + 5}" text-anchor="end">{escape(row.name)}</text>'
        f'<rect class="{row.side}" x="{_LEFT}" y="{top + 2}" width="{length:.1f}" height="{_ROW - 8}" rx="2"/>'
        f'<line class="whisker" x1="{_LEFT + low:.1f}" x2="{_LEFT + high:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<text x="{_LEFT + max(length, high) + 6:.1f}" y="{middle + 5}">{number(figure.median)}</text>'
    )


def _length(value: float, most: float) -> float:
    return max(0.0, value) / most * (_WIDTH - _LEFT - _RIGHT)
