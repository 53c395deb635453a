"""The command `forecourt config`, on a real server."""

from pathlib import Path

import pytest

from forecourt.cli import main
from tests.servers import Valkey

POLICIES = '{more}\n[default.rate_limit]\ntype = "fixed_window"\nlimit = 5\nwindow = 60\n'


@pytest.fixture
def policies(tmp_path: Path, valkey: Valkey) -> str:
    """Write a policy file that names the server."""
    return _written(tmp_path / "policies.toml", f'store = "{valkey.url}"')


def _written(path: Path, more: str) -> str:
    path.write_text(POLICIES.format(more=more))
    return str(path)


def test_push_show_and_drop(policies: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is pushed is the file's text; again is no other document."""
    for act in ("show", "push", "push", "show", "drop", "drop"):
        assert main(["config", act, policies]) == 0
    out = capsys.readouterr().out
    assert out.startswith("nothing is pushed.\npushed: ")
    first, second = [line.split()[1] for line in out.splitlines() if line.startswith("pushed:")]
    assert first == second
    assert Path(policies).read_text() in out
    assert out.endswith("dropped: processes go back to their files\nnothing was pushed.\n")


def test_a_new_document_takes_the_place_of_the_old(
    policies: str, valkey: Valkey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store keeps one; the store may be named beside a file that does not."""
    other = _written(tmp_path / "other.toml", 'realm = "other"')
    assert main(["config", "push", policies]) == 0
    assert main(["config", "push", other, "--store", valkey.url]) == 0
    (documents,) = [key for key in valkey.client().scan_iter() if key.endswith(b":documents")]
    assert valkey.client().hlen(documents.decode()) == 1
    assert main(["config", "show", policies]) == 0
    assert 'realm = "other"' in capsys.readouterr().out


def test_what_cannot_be_pushed_is_refused(policies: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad config; one in memory; one whose passwords would stand in the store, of which nothing is shown."""
    assert main(["config", "push", _written(tmp_path / "bad.toml", "realmm = 1")]) == 2
    assert main(["config", "push", _written(tmp_path / "alone.toml", "")]) == 2
    secret = 'store = "redis://:hunter2@localhost"\nqueues = {mail = "redis://:hunter2@localhost"}\n'
    secret += 'databases = {main = {url = "postgresql+asyncpg://me:hunter2@localhost/a"}}'
    assert main(["config", "push", _written(tmp_path / "open.toml", secret), "--store", _store_of(policies)]) == 2
    told = capsys.readouterr().err
    for words in (
        'did you mean "realm"',
        "nobody can push to memory://",
        "store: its password would stand in the store",
        "queues.mail: its password would stand in the store",
        'databases."main".url: its password would stand in the store',
    ):
        assert words in told
    assert "hunter2" not in told


def _store_of(policies: str) -> str:
    return Path(policies).read_text().partition('"')[2].partition('"')[0]
