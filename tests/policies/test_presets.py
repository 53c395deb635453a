"""Policies to begin with."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from forecourt import JobConfig, TokenBucket, cpu_endpoint, db_endpoint, io_endpoint
from forecourt.policies.presets import PRESETS

MADE = {"db": db_endpoint, "io": io_endpoint, "cpu": cpu_endpoint}


@pytest.mark.parametrize("name", PRESETS)
def test_files_and_python_say_the_same(name: str, tmp_path: Path) -> None:
    """`preset = "db"` is `db_endpoint()`, and a field beside it replaces the preset's whole."""
    path = tmp_path / "policies.toml"
    path.write_text(f'[endpoints.x]\npreset = "{name}"\nmax_body = 7\n')
    read = JobConfig.from_file(path).endpoints["x"]
    assert read == MADE[name](max_body=7)
    assert read != MADE[name]()


def test_a_field_is_replaced_or_switched_off() -> None:
    """By a model, a table, or "off"."""
    own = io_endpoint(rate_limit=TokenBucket(max_tokens=1, refill_rate=1), retry="off")
    assert own.rate_limit == TokenBucket(max_tokens=1, refill_rate=1)
    assert own.retry == "off"
    assert own.timeout == io_endpoint().timeout


def test_a_wrong_field_is_told() -> None:
    """With the nearest right one."""
    with pytest.raises(ValidationError, match='did you mean "timeout"'):
        db_endpoint(timeouts=1)


def test_a_files_own_preset_comes_first(tmp_path: Path) -> None:
    """A team may say for itself what "db" means."""
    path = tmp_path / "policies.toml"
    path.write_text('[presets.db]\nmax_body = 5\n\n[endpoints.x]\npreset = "db"\n')
    policy = JobConfig.from_file(path).endpoints["x"]
    assert policy.rate_limit is None
    assert policy.max_body is not None
