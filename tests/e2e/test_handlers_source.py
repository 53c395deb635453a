"""The handlers of all examples are plain: their source says nothing of policies."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
HANDLERS = sorted(EXAMPLES.glob("*/handlers.py"))
POLICIES = {"observability", "quotes", "records", "reports", "service", "thumbnails"}
"""The examples that are services; the others show what stands in forecourt's own place."""

ALLOWED = {"forecourt.db", "forecourt.client"}
"""A handler may ask for a session, or be a client of others; all else stands in the config."""

ROUTES = {"get", "post", "put", "patch", "delete", "websocket", "route", "api_route"}


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, with the names taken of packages."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= {f"forecourt.{each.name}" for each in node.names if node.module == "forecourt"}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return {name for name in found if name.split(".")[0] == "forecourt"}


def routed(path: Path) -> Iterator[str]:
    """Yield the functions of a file that are handlers, by their decorators."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for each in node.decorator_list:
                if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr in ROUTES:
                    yield node.name


def test_every_example_that_is_a_service_has_handlers() -> None:
    """In a file of their own; none are elsewhere, where policies stand."""
    assert {path.parent.name for path in HANDLERS} == POLICIES
    others = [path for path in EXAMPLES.glob("*/*.py") if path.name != "handlers.py"]
    assert [(path.parent.name, name) for path in others for name in routed(path)] == []
    assert [path.parent.name for path in HANDLERS if not [*routed(path)]] == []


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.parent.name)
def test_handlers_import_nothing_of_forecourt_but_db_and_clients(path: Path) -> None:
    """Nor what they import of their own example."""
    assert imported(path) <= ALLOWED
    own = [each for each in path.parent.glob("*.py") if f"examples.{path.parent.name}.{each.stem}" in path.read_text()]
    assert set().union(*(imported(each) for each in own)) <= ALLOWED


def test_a_handler_that_names_a_policy_is_found(tmp_path: Path) -> None:
    """However it is imported."""
    source = tmp_path / "handlers.py"
    for line in ("import forecourt", "from forecourt import Cache", "from forecourt.exchange import exchange_of"):
        source.write_text(line)
        assert not imported(source) <= ALLOWED
    source.write_text("from forecourt.db import session")
    assert imported(source) <= ALLOWED
