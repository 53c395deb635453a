"""The short form of `scripts/soak stale-reads`: no stale read, and with its guard gone there are."""

import pytest

from forecourt.caching.guard import Guard
from tests.servers import Valkey
from tests.soak.stale_reads import History

pytestmark = pytest.mark.valkey


async def test_no_read_is_stale_while_connections_are_cut(valkey: Valkey) -> None:
    """In the writing process nothing, elsewhere nothing older than 50 ms; answers were kept, and writes met cuts."""
    history = History(valkey, seed=1)
    await history.play(2.5)
    assert history.faults == []
    least = {"reads": 100, "kept answers": 1, "shared runs": 10, "writes with a connection cut": 10, "cuts": 5}
    assert {what: history.counts[what] for what in least if history.counts[what] < least[what]} == {}


@pytest.mark.slow
async def test_a_tier_that_is_believed_without_the_log_is_seen(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is read as ever, but what the process has is served also when that has failed."""
    holds = Guard.holds

    def always(guard: Guard, now: int) -> bool:
        holds(guard, now)
        return True

    monkeypatch.setattr(Guard, "holds", always)
    history = History(valkey, seed=2, first=True)
    await history.play(30)
    assert history.faults != []
