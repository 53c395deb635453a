"""What could not be told to the store is logged when that begins, and when it is over."""

import pytest

from forecourt.errors import StoreDown
from forecourt.losses import QUIET, Losses
from forecourt.stores.contract import Settlement
from forecourt.testing import FakeClock
from forecourt.types import SECOND

FILL = [Settlement("cache_fill", "k", ())]
LEASE = [Settlement("lease_release", "k", ())]


def test_a_lane_that_loses_is_told_of_once_and_once_when_it_is_well(caplog: pytest.LogCaptureFixture) -> None:
    """Two lines, however many are lost; it is well only when none was lost for a while, and begins anew then."""
    caplog.set_level("INFO", "forecourt")
    clock = FakeClock()
    losses = Losses(clock)
    losses.told(FILL)
    for _ in range(100):
        losses.lost(FILL, StoreDown("gone"))
        losses.told(FILL)
    losses.told(LEASE)
    assert [record.getMessage() for record in caplog.records] == [
        "settlements lost (cache_fill): gone; what was granted ends with its lease"
    ]
    clock.advance(QUIET / SECOND)
    losses.told(LEASE)
    losses.told(FILL)
    losses.told(FILL)
    assert caplog.records[-1].getMessage() == "settlements of the cache arrive again; 100 were lost"
    losses.lost(FILL, StoreDown("gone"))
    assert len(caplog.records) == 3


def test_lanes_lose_apart(caplog: pytest.LogCaptureFixture) -> None:
    """A store that drops fills may well take decisions."""
    losses = Losses(FakeClock())
    for settlements in (FILL, LEASE, FILL, LEASE):
        losses.lost(settlements, StoreDown("gone"))
    assert [record.args for record in caplog.records] == [
        ("cache_fill", caplog.records[0].args[1]),  # type: ignore[index]  # a tuple
        ("lease_release", caplog.records[1].args[1]),  # type: ignore[index]  # a tuple
    ]
