"""A policy file to begin with."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from forecourt.cli import main

APP = """
from fastapi import FastAPI, WebSocket
from starlette.responses import PlainTextResponse
from forecourt import JobConfig, PolicyMiddleware

app = FastAPI()

@app.get("/records/{record_id}")
async def get_record(record_id: int) -> int: return record_id

@app.post("/records")
async def create_record() -> int: return 1

@app.get("/health")
async def health() -> int: return 1

@app.websocket("/news")
async def news(socket: WebSocket) -> None: ...

@app.get("/again", name="get_record")
async def again() -> int: return 2
"""


def test_it_writes_what_loads_and_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each endpoint once, by what it looks like; the file is right for its app as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "begun_app.py").write_text(dedent(APP).rsplit("@app.get", 1)[0])
    assert main(["init", "begun_app:app"]) == 0
    written = capsys.readouterr().out
    (tmp_path / "policies.toml").write_text(written)
    assert written.count("[endpoints.") == 4
    assert '# GET /records/{record_id}\n[endpoints."get_record"]\npreset = "db"' in written
    assert 'count = "connect"' in written
    with (tmp_path / "begun_app.py").open("a") as module:
        module.write('\napp.add_middleware(PolicyMiddleware, config=JobConfig.from_file("policies.toml"))\n')
    monkeypatch.delitem(sys.modules, "begun_app")
    assert main(["check", "begun_app:app"]) == 0, capsys.readouterr().out


def test_a_name_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two routes of one name are one endpoint in the file, which `check` then tells apart."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twice_app.py").write_text(dedent(APP))
    assert main(["init", "twice_app:app"]) == 0
    assert capsys.readouterr().out.count('[endpoints."get_record"]') == 1
