"""The store on a cluster: whatever slots the questions of one call hash to, the limits are the limits."""

from collections.abc import AsyncIterator

import pytest

from forecourt.stores.contract import Question, Settlement
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from tests.servers import Cluster

pytestmark = pytest.mark.valkey


@pytest.fixture
async def store(valkey_cluster: Cluster) -> AsyncIterator[RedisStore]:
    """Open a store on three primaries."""
    opened = RedisStore(Client(valkey_cluster.url, deadline=2))
    await opened.open()
    yield opened
    await opened.close()


def window(tag: str, limit: int) -> Question:
    """Ask for one of `limit` calls a minute of this identity."""
    return Question("fixed_window", f"fc:{{{tag}}}:fw1:x", (limit, 60_000_000, 1, 0))


async def test_limits_of_several_slots_hold(store: RedisStore) -> None:
    """Each refuses when it is used up; answers come in the order of the questions."""
    questions = [window("a", 5), window("b", 2), window("c", 9)]
    answers = [await store.decide(questions) for _ in range(4)]
    assert [all(answer.granted for answer in each) for each in answers] == [True, True, False, False]
    assert [answer.verdict for answer in answers[2]][1] == "refuse"


async def test_a_charge_comes_after_every_other_slot(store: RedisStore) -> None:
    """A limit of another slot that refuses leaves the account untouched; leases are settled on their own slots."""
    grant = Question("credits_grant", "fc:{p}:credits:account", (10, "g", 60_000_000, 10))
    await store.decide([grant])
    charge = Question("credits_charge", "fc:{p}:credits:account", (4, 60_000_000, "id", 0, 0, 0, 10))
    lease = Question("lease", "fc:{q}:lease:x", (1, 60_000_000, "id", 0, 1))
    refused = await store.decide([window("z", 0), charge])
    assert [answer.verdict for answer in refused] == ["refuse", "go"]
    assert not refused[1].granted
    granted = await store.decide([lease, charge])
    assert [answer.granted for answer in granted] == [True, True]
    assert granted[1].values[0] == 6
    await store.settle(
        [Settlement("lease_release", lease.key, ("id",)), Settlement("credits_settle", charge.key, (0, "id", 0, 10))]
    )
    assert (await store.decide([lease]))[0].granted
