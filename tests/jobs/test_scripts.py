"""The scripts of queues: each comes after what it uses of the library, and after nothing else."""

import re
from importlib.resources import files

import pytest

from forecourt.jobs.board import _OWN
from forecourt.jobs.valkey import _DEFINES, _NAMES, _STATEMENT, script

SCRIPTS = [("common", name) for name in _NAMES] + [("common", "brokered", name) for name in (*_NAMES, *_OWN)]
FOLDER = files("forecourt.jobs") / "lua"
LIBRARY = "".join((FOLDER / f"{name}.lua").read_text("utf-8") for name in ("common", "brokered"))
MADE = [found[1].split(", ") for each in _STATEMENT.split(LIBRARY) if (found := _DEFINES.match(each))]
DEFINED = {name for names in MADE for name in names}


def without_texts(*names: str) -> str:
    """Return a script without what stands in quotes."""
    return re.sub(r"'[^']*'", "''", script(*names).source.decode())


@pytest.mark.parametrize("names", SCRIPTS, ids="-".join)
def test_what_a_script_uses_is_made_before_it(names: tuple[str, ...]) -> None:
    """Where a name of the library first stands it is made: a server would only tell once the line is reached."""
    source = without_texts(*names)
    for name in DEFINED:
        if first := re.search(rf"^.*?\b{name}\b.*$", source, re.MULTILINE):
            assert re.match(rf"local [\w, ]*\b{name}\b[\w, ]* = ", first[0]), (name, first[0])


def test_a_script_makes_nothing_that_it_does_not_use() -> None:
    """A publication has no use for attempts and ends, nor has a server for comments."""
    source = without_texts("common", "publish")
    assert {"again", "over", "wait", "lined", "DEAD"} <= DEFINED
    assert not re.search(r"\b(again|over|wait|lined|DEAD)\b", source)
    assert "--" not in source
