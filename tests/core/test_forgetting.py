"""Forgetting: whatever was kept under a key, what comes after is as if nothing had been."""

import pytest

from forecourt.types import SECOND
from tests.core.twins import Kept, Served
from tests.servers import Valkey

LEASE = ("lease", "k", 1, 60 * SECOND, "a", 0, 1)


def check(twin: Kept | Served) -> None:
    """Take the one lease there is, forget it, take it again; forgetting twice and nothing is no mistake."""
    fresh = twin(*LEASE)
    assert twin("lease", "k", 1, 60 * SECOND, "b", 0, 1)[0] == 0
    assert twin("forget", "other") == []
    assert twin("lease", "k", 1, 60 * SECOND, "b", 0, 1)[0] == 0
    assert twin("forget", "k") == twin("forget", "k") == []
    assert twin(*LEASE) == fresh


def test_what_is_forgotten_is_absent() -> None:
    """In memory."""
    check(Kept())


@pytest.mark.valkey
def test_what_is_forgotten_is_absent_on_a_server(valkey: Valkey) -> None:
    """And by its Lua twin."""
    check(Served(valkey.client()))
