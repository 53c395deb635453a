"""The command `forecourt maintenance`, on a real server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecourt.cli import main
from tests.servers import Valkey

POLICIES = """
store = "{store}"
[default]
maintenance = {{ roles = ["operator"] }}
"""

APP = """
from fastapi import FastAPI
from forecourt import JobConfig, PolicyMiddleware
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(PolicyMiddleware, config=JobConfig.from_file("policies.toml"))
@app.get("/records")
async def get_record() -> int: return 1
"""


@pytest.fixture
def policies(tmp_path: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a config that names the server into the working directory; return its name."""
    (tmp_path / "policies.toml").write_text(POLICIES.format(store=valkey.url))
    monkeypatch.chdir(tmp_path)
    return "policies.toml"


@pytest.fixture
def module(policies: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write an app under that config; return how a server is told of it."""
    name = f"maintained_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP.replace("policies.toml", policies))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield f"{name}:app"
    sys.modules.pop(name, None)


def test_on_list_and_off(module: str, policies: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By the app or by its file; with a time and a word, or until it is taken back."""
    assert main(["maintenance", "list", policies]) == 0
    assert main(["maintenance", "on", module, "get_*", "--for", "30m", "--why", "moved"]) == 0
    assert main(["maintenance", "on", policies]) == 0
    assert main(["maintenance", "list", module]) == 0
    assert main(["maintenance", "off", module, "get_*"]) == 0
    assert main(["maintenance", "off", policies]) == 0
    assert main(["maintenance", "off", policies]) == 0
    nothing, on, everything, one, two, off, off_all, was_off = capsys.readouterr().out.splitlines()
    assert nothing == "nothing is switched to maintenance."
    assert on.startswith("on: get_* until 2")
    assert on.endswith("+00:00: moved")
    assert everything == "on: * until it is taken back"
    assert {one, two} == {on.removeprefix("on: "), everything.removeprefix("on: ")}
    assert (off, off_all, was_off) == ("off: get_*", "off: *", "* was not on")


def test_what_cannot_be_is_refused(
    module: str, policies: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An endpoint that the app does not have; words too long; no policy; a store nobody shares; no time."""
    assert main(["maintenance", "on", module, "get_rekord"]) == 2
    assert main(["maintenance", "on", policies, "--why", "x" * 201]) == 2
    (tmp_path / "bare.toml").write_text('store = "redis://localhost"\n')
    assert main(["maintenance", "on", "bare.toml"]) == 2
    (tmp_path / "alone.toml").write_text("[default]\nmaintenance = {}\n")
    assert main(["maintenance", "on", "alone.toml"]) == 2
    with pytest.raises(SystemExit):
        main(["maintenance", "on", policies, "--for", "soon"])
    told = capsys.readouterr().err
    for words in (
        'did you mean "get_record"?',
        "at most 200 printable",
        "say [default.maintenance] in the policy file",
        "switches in memory:// are their process's own",
        "'soon' is no time: say 90s, 30m, 2h or 1d",
    ):
        assert words in told


def test_explain_knows_of_it(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What an operator has switched is what a call would meet."""
    assert main(["maintenance", "on", module, "--why", "moved"]) == 0
    main(["explain", module, "GET", "/records"])
    assert "would be refused with 503 by maintenance" in capsys.readouterr().out
    assert main(["maintenance", "off", module]) == 0
    main(["explain", module, "GET", "/records"])
    assert "passes      maintenance" in capsys.readouterr().out
