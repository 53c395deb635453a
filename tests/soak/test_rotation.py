"""The short form of the rotation drill: one rotation by two processes, under load."""

from pathlib import Path

import pytest

from tests.servers import Valkey
from tests.soak.rotation import drill

pytestmark = [pytest.mark.valkey, pytest.mark.slow]


def test_a_key_is_rotated_and_no_call_fails(valkey: Valkey, tmp_path: Path) -> None:
    """Old records open in both processes until their key is retired, and not afterwards; calls never stop."""
    calls, wrong = drill(valkey.url, tmp_path / "ring", afresh=False)
    assert wrong == []
    assert calls > 20
