"""The diagram of a request's way in docs/design.md is the stack's own: `python -m tests.test_flow` writes it anew."""

import re
from pathlib import Path

from forecourt.observers import NAMES
from forecourt.stack import ERRORS, ROWS

PAGE = Path(__file__).parent.parent / "docs" / "design.md"
BLOCK = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def diagram() -> str:
    """Draw the stack: each layer, why it stands there, and the handler innermost."""
    names = [ERRORS, "endpoint", *NAMES, *(row.name for row in ROWS), "handler"]
    whys = {row.name: row.why for row in ROWS}
    lines = ["flowchart TD", "    server([server]) --> policy[PolicyMiddleware: opens the exchange]"]
    before = "policy"
    for name in names:
        label = f"<b>{name}</b><br/>{whys[name]}" if name in whys else f"<b>{name}</b>"
        lines.append(f'    {before} --> {name}_layer["{label}"]')
        before = f"{name}_layer"
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def test_the_diagram_is_the_stack() -> None:
    """A row that comes, goes, moves or stands for another reason changes the diagram."""
    found = BLOCK.search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[0] == diagram(), "write it anew: python -m tests.test_flow"


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: diagram(), PAGE.read_text("utf-8"), count=1), "utf-8")
