"""The handlers of the records example are plain: their source says nothing of policies."""

import ast
from pathlib import Path

HANDLERS = Path(__file__).parents[2] / "examples" / "records" / "handlers.py"


def test_handlers_import_nothing_of_forecourt_but_db() -> None:
    """A handler may ask for a session; all else stands in the config."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(HANDLERS.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    assert {name for name in found if name.startswith("forecourt")} == {"forecourt.db"}
