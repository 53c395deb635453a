"""Workers killed with -9 and frozen: no job is lost, none is finished twice. A short form of `tests.soak.job_kills`."""

import pytest

from tests.servers import Valkey
from tests.soak.job_kills import Trials


@pytest.mark.slow
async def test_killed_and_frozen_workers_lose_nothing(valkey: Valkey) -> None:
    """Five trials, the last of them a freeze, and two workers killed beside an idle queue: each job has one result."""
    found = await Trials(valkey.url, seed=1).run(5)
    assert (found.judged(), found.kills) == ([], 7)
