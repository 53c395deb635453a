"""The command `forecourt limits`, on a real server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecourt.cli import main
from forecourt.principals import Keys
from tests.servers import Cluster, Valkey, free_port

HERE = ["--client", "192.0.2.1"]

POLICIES = """
store = "{store}"
limit_overrides = true
[[endpoints.get_record.rate_limit]]
type = "fixed_window"
limit = 3
window = 3600
name = "hourly"
tiers = {{ gold = {{ limit = 9 }} }}
[[endpoints.get_record.rate_limit]]
type = "fixed_window"
limit = 50
window = 60
key = "endpoint"
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
    name = f"limited_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP.replace("policies.toml", policies))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield f"{name}:app"
    sys.modules.pop(name, None)


def spend(valkey: Valkey) -> None:
    """Let a window that ends in an hour have counted three hits of the caller."""
    key = Keys("fc").key("fw1", "@hourly", "client", "192.0.2.1")
    state = "return redis.call('SET', KEYS[1], struct.pack('<dd', redis.call('TIME')[1] * 1e6 + 3599e6, 3))"
    valkey.ask("EVAL", state, "1", key)


def test_peek_and_reset(policies: str, valkey: Valkey, capsys: pytest.CaptureFixture[str]) -> None:
    """Peek says what is left and when there is more; reset gives it back."""
    assert main(["limits", "peek", policies, "get_record", *HERE]) == 0
    spend(valkey)
    assert main(["limits", "peek", policies, "get_record", *HERE]) == 0
    assert main(["limits", "peek", policies, "get_record", *HERE, "--tier", "gold"]) == 0
    assert main(["limits", "reset", policies, "get_record", *HERE, "--name", "hourly"]) == 0
    assert main(["limits", "peek", policies, "get_record", *HERE]) == 0
    fresh, spent, gold, reset, again = capsys.readouterr().out.splitlines()
    assert fresh == again == "hourly: 3 of 3 left; a call now passes"
    assert spent.startswith("hourly: 0 of 3 left, one more in 359")
    assert spent.endswith(" s; a call now would be refused")
    assert gold.startswith("hourly: 6 of 9 left")
    assert reset == "reset: hourly"


@pytest.mark.parametrize(
    ("who", "says"),
    [
        (["--principal", "https://issuer.test", "alice"], "hourly: 3 of 3"),
        (["--all-callers"], "fixed_window: 50 of 50"),
    ],
)
def test_an_app_is_looked_at(module: str, who: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """module:app is imported as `show` does; every kind of identity can be said."""
    assert main(["limits", "peek", module, "get_record", *who]) == 0
    assert capsys.readouterr().out.startswith(says)


def test_an_endpoint_that_the_app_has_not_is_said(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and the nearest one."""
    assert main(["limits", "peek", module, "get_rekord", *HERE]) == 2
    assert capsys.readouterr().err == 'there is no endpoint "get_rekord"; did you mean "get_record"?\n'


def test_an_identity_that_no_limit_counts_is_said(policies: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what the endpoint counts by."""
    assert main(["limits", "reset", policies, "get_record", "--tenant", "acme"]) == 2
    assert "count by endpoint and principal, not by tenant" in capsys.readouterr().err


def test_whose_limits_must_be_said_once(policies: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody's and two callers' are no question."""
    for who in ([], [*HERE, "--all-callers"]):
        with pytest.raises(SystemExit):
            main(["limits", "peek", policies, "get_record", *who])
    assert "--client" in capsys.readouterr().err


def test_limits_in_memory_cannot_be_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The memory of another process is not this command's to read, and it says what to do."""
    path = tmp_path / "policies.toml"
    path.write_text(POLICIES.format(store="memory://"))
    assert main(["limits", "peek", str(path), "get_record", *HERE]) == 2
    assert "name the service's store" in capsys.readouterr().err


def test_a_store_that_is_gone_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 with the reason; no traceback."""
    path = tmp_path / "policies.toml"
    path.write_text(POLICIES.format(store=f"redis://127.0.0.1:{free_port()}"))
    assert main(["limits", "peek", str(path), "get_record", *HERE]) == 2
    assert "needs the store" in capsys.readouterr().err
    assert main(["limits", "reset", str(path), "get_record", *HERE]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_override_list_and_restore(policies: str, module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For all callers or for one, for a while; peek tells the numbers that hold; who it is about is not shown."""
    assert main(["limits", "overrides", policies]) == 0
    named = ["get_record", "--name", "hourly"]
    assert main(["limits", "override", module, *named, "--set", "limit=7", "--set", "window=60", "--for", "1h"]) == 0
    assert main(["limits", "override", policies, *named, *HERE, "--set", "limit=9", "--for", "90s"]) == 0
    assert main(["limits", "overrides", policies]) == 0
    assert main(["limits", "peek", policies, "get_record", *HERE]) == 0
    assert main(["limits", "restore", policies, *named, *HERE]) == 0
    assert main(["limits", "restore", policies, *named, *HERE]) == 0
    nothing, for_all, for_one, first, second, peeked, restored, was_not = capsys.readouterr().out.splitlines()
    assert nothing == "no limit is changed."
    assert for_all.startswith("hourly of *, all callers: limit=7, window=60 until 2")
    assert for_one.startswith("hourly of *, caller ")
    assert "192.0.2.1" not in for_one
    assert {first, second} == {for_all, for_one}
    assert peeked == "hourly: 9 of 9 left; a call now passes"
    assert (restored, was_not) == ("restored", "nothing was changed there")


def test_on_a_cluster(
    tmp_path: Path,
    valkey_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Peek, reset and overrides are the same, wherever the keys lie."""
    (tmp_path / "policies.toml").write_text(POLICIES.format(store=valkey_cluster.url))
    monkeypatch.chdir(tmp_path)
    named = ["policies.toml", "get_record"]
    changed = ["--name", "hourly", "--set", "limit=7", "--for", "1h"]
    assert main(["limits", "override", *named, *changed]) == 0
    assert main(["limits", "overrides", "policies.toml"]) == 0
    assert main(["limits", "peek", *named, *HERE]) == 0
    assert main(["limits", "reset", *named, *HERE]) == 0
    assert main(["limits", "restore", *named, "--name", "hourly"]) == 0
    assert main(["limits", "peek", *named, *HERE]) == 0
    out = capsys.readouterr().out
    assert "hourly: 7 of 7 left; a call now passes" in out
    assert "hourly: 3 of 3 left; a call now passes" in out


def test_an_override_without_a_number_or_a_time_is_refused(policies: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What to say is said."""
    assert main(["limits", "override", policies, "get_record", "--name", "hourly", "--for", "1h"]) == 2
    for wrong in (["--set", "limit=many", "--for", "1h"], ["--set", "limit=5"]):
        with pytest.raises(SystemExit):
            main(["limits", "override", policies, "get_record", "--name", "hourly", *wrong])
    told = capsys.readouterr().err
    assert "hourly: say at least one of limit and window" in told
    assert "'limit=many' is no number: say limit=50" in told
    assert "--for" in told
