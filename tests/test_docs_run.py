"""What the docs show is run: all Python, and the commands of forecourt with what they print."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documented.blocks import ROOT, Block, name_of, of_page, with_blocks
from tests.documented.commands import commands, differs, done, service, taken_apart
from tests.documented.python import compiled, module_of, page_ran, run
from tests.documented.services import SERVICES, Service
from tests.documented.surroundings import SECRET, SURROUNDINGS
from tests.servers import Valkey

PYTHON = with_blocks("python")
TESTS = ("testing.md", "tutorial.md")
APART = {"docs/extending.md"}
"""Pages that run in an interpreter of their own: this one registers a strategy."""
VARIABLES = ("AUDIT_KEY", "ISSUER_SECRET", "JOBS_KEY", "KEY_PEPPER")


@pytest.mark.parametrize("page", PYTHON, ids=name_of)
def test_python_in_the_docs_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of a page runs, in order, and leaves what the page says it does."""
    for name in VARIABLES:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("WEBHOOK_SECRET", "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    if left := apart(page, tmp_path) if name_of(page) in APART else page_ran(page, tmp_path):
        pytest.skip("; ".join(left))


def apart(page: Path, folder: Path) -> list[str]:
    """Run a page in an interpreter of its own; what it leaves in the process would be in the way of others."""
    command = [sys.executable, "-W", "error", "-m", "tests.documented.python", name_of(page)]
    around = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-2]


def test_surroundings_are_of_pages() -> None:
    """No page that is gone, or without Python, has surroundings."""
    assert SURROUNDINGS.keys() <= {name_of(page) for page in PYTHON}


def block(text: str) -> Block:
    """Return a Python block of a page."""
    return Block(ROOT / "README.md", 1, "python", text)


def test_what_is_not_python_is_refused() -> None:
    """A Python block that no interpreter could read fails, with its page's line."""
    compiled(block("await anything()\n"))
    with pytest.raises(SyntaxError) as refused:
        compiled(block("a = 1\nb =\n"))
    assert refused.value.lineno == 3


def test_what_is_shown_must_run() -> None:
    """A block sees what those before it made, unless it says that it runs by itself; it may wait; it must not raise."""
    with asyncio.Runner() as runner, module_of(ROOT / "README.md") as names:
        run(block("a = 1\n"), names, runner)
        run(block("import asyncio\nawait asyncio.sleep(0)\nb = a + 1\n"), names, runner)
        assert names["b"] == 2
        run(block("# runs\nc = 1\n"), names, runner)
        with pytest.raises(NameError):
            run(block("# runs\na\n"), names, runner)
        with pytest.raises(ZeroDivisionError):
            run(block("1 / 0\n"), names, runner)


CONSOLES = [page for page in with_blocks("console") if commands(page)]


@pytest.mark.valkey
@pytest.mark.parametrize("page", CONSOLES, ids=name_of)
def test_commands_in_the_docs_do_as_shown(
    page: Path, tmp_path: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command of forecourt on a page can be carried out, one after the other, and prints what is shown."""
    about = SERVICES[name_of(page)]
    for name in VARIABLES:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("FORECOURT_CONFIG", "policies.toml")
    monkeypatch.setenv("FORECOURT_TOKEN", "")
    with service(tmp_path, f'store = "{valkey.url}"\n{about.policies}', about.routes):
        (tmp_path / "policies-new.toml").write_text(f'store = "{valkey.url}"\n{about.newer}', "utf-8")
        about.before(valkey)
        wrong = list(differing(page, about))
    assert wrong == []


def differing(page: Path, about: Service) -> Iterator[str]:
    """Type a page's commands; yield those that failed, and those that print something else than is shown."""
    before: list[str] = []
    for command in commands(page):
        line = about.typed(command.line, before)
        said = done(line, about.given() if "|" in line else "")
        expected = next((code for words, code in about.exits.items() if line.startswith(words)), 0)
        if said.code != expected:
            yield f"{line}: exit {said.code}: {said.error}"
        if different := differs(command.shown, said.lines):
            yield f"{line}: {different}"
        before += said.lines


def test_commands_are_taken_apart() -> None:
    """A variable before a command, one that is set to what it prints, a pipe, a file that is written to."""
    assert taken_apart("A=1 B=… forecourt show a  # all") == ({"A": "1"}, ["forecourt", "show", "a"], "")
    assert taken_apart("T=$(forecourt token --scope a)") == ({}, ["forecourt", "token", "--scope", "a"], "")
    assert taken_apart("psql -c 'a b' | forecourt audit verify -")[1] == ["forecourt", "audit", "verify", "-"]
    assert taken_apart("forecourt secrets new > key") == ({}, ["forecourt", "secrets", "new"], "key")


def test_what_is_not_as_shown_is_told() -> None:
    """Instants, seconds and callers are held to their form, the rest to the letter; `…` stands for any lines."""
    said = ["a until 2026-11-30T04:30:00+00:00", "in 12.000 s", "b"]
    assert differs([], said) == ""
    assert differs(["a until 2031-01-01T00:00:00+00:00", "in 1.234 s", "b"], said) == ""
    assert differs(["…", "b"], said) == differs(["a until 2031-01-01T00:00:00+00:00", "…"], said) == ""
    for wrong in (["a until never", "…"], ["…", "in 1 s", "b"], said[:2], ["b", "…"]):
        assert differs(wrong, said).startswith("shown:")


@pytest.mark.valkey
def test_tests_in_the_docs_pass(tmp_path: Path, valkey: Valkey) -> None:
    """The tutorial's test, and those for a store, queue and strategy of one's own with the plugin, as files."""
    texts = {name: [b.text for b in of_page(ROOT / "docs" / name) if b.language == "python"] for name in TESTS}
    (tmp_path / "test_tutorial.py").write_text(texts["tutorial.md"][-1], "utf-8")
    (tmp_path / "conftest.py").write_text(texts["testing.md"][1], "utf-8")
    (tmp_path / "test_store.py").write_text(texts["testing.md"][2], "utf-8")
    (tmp_path / "test_strategy.py").write_text(texts["testing.md"][4], "utf-8")
    (tmp_path / "test_queue.py").write_text(texts["testing.md"][3], "utf-8")
    around = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "TEST_SERVER": valkey.url}
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=around, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 10
