"""The command `forecourt credits`, on a real server."""

from pathlib import Path

import pytest

from forecourt.cli import main
from tests.servers import Valkey, free_port


@pytest.fixture
def config(tmp_path: Path, valkey: Valkey) -> str:
    """Write a config that names the server; return its path."""
    path = tmp_path / "policies.toml"
    path.write_text(f'store = "{valkey.url}"\n[accounts]\nquota = {{ amount = 100 }}\n')
    return str(path)


def test_grant_balance_and_history(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is granted under an id is granted once; it shows in the balance and as a line of the journal."""
    grant = ["credits", "grant", "--config", config, "--amount", "500", "--id", "invoice-17", "client", "192.0.2.7"]
    assert [main(grant), main(grant)] == [0, 0]
    assert main(["credits", "balance", "--config", config, "client", "192.0.2.7"]) == 0
    first, second, balance = capsys.readouterr().out.splitlines()
    assert first == second == balance == "500 available, 0 reserved"
    assert main(["credits", "history", "--config", config, "--count", "1", "client", "192.0.2.7"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[2:] == ["grant", "+500", "500", "invoice-17"]


def test_the_config_of_the_environment_is_used(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --config the file that FORECOURT_CONFIG names is read."""
    monkeypatch.setenv("FORECOURT_CONFIG", config)
    assert main(["credits", "balance", "client", "192.0.2.9"]) == 0
    assert capsys.readouterr().out.startswith("100 available")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["grant", "--amount", "0"], "must be other than 0"),
        (["history", "--count", "0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_is_said(
    config: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and one line on standard error."""
    assert main(["credits", *arguments, "--config", config, "client", "192.0.2.7"]) == 2
    assert says in capsys.readouterr().err


def test_accounts_in_memory_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The memory of another process is not this command's to read, and it says what to do."""
    monkeypatch.delenv("FORECOURT_CONFIG", raising=False)
    assert main(["credits", "balance", "client", "192.0.2.7"]) == 2
    assert "name the service's store" in capsys.readouterr().err


def test_a_store_that_is_gone_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 with the reason; no traceback."""
    path = tmp_path / "policies.toml"
    path.write_text(f'store = "redis://127.0.0.1:{free_port()}"\n')
    assert main(["credits", "balance", "--config", str(path), "client", "192.0.2.7"]) == 2
    assert "ledger needs the store" in capsys.readouterr().err
