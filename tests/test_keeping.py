"""Whether a store keeps what credits need kept is asked once, when it is opened."""

from collections.abc import AsyncIterator, Sequence

import pytest

from forecourt import ConfigError, Credits, EndpointPolicy, Idempotency, JobConfig, StoreDown
from forecourt.ledger import check_store
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question
from forecourt.stores.failover import FailoverStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from tests.servers import Cluster, Valkey

CHARGING = EndpointPolicy(credits=Credits(amount=1))
CHARGED = JobConfig(default=CHARGING)
KEYED = JobConfig(default=EndpointPolicy(idempotency=Idempotency(key="client")))
EVICTING = ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"]


@pytest.mark.valkey
class TestOnAServer:
    """What INFO tells, from within a script."""

    @pytest.fixture
    async def served(self) -> AsyncIterator[tuple[Valkey, RedisStore]]:
        """A server of its own, as its settings are changed, and an open store on it."""
        with Valkey() as server:
            store = RedisStore(Client(server.url, deadline=5))
            await store.open()
            yield server, store
            await store.close()

    @pytest.mark.parametrize("policy", EVICTING)
    async def test_one_that_evicts_is_refused(self, served: tuple[Valkey, RedisStore], policy: str) -> None:
        """With what to change; where nobody is charged it is no matter."""
        server, store = served
        server.ask("CONFIG", "SET", "maxmemory-policy", policy)
        with pytest.raises(ConfigError, match="set its maxmemory-policy to noeviction"):
            await check_store(CHARGED, store)
        with pytest.raises(ConfigError, match="endpoints carry calls out once, and this server may evict"):
            await check_store(KEYED, store)
        await check_store(JobConfig(default=EndpointPolicy(credits="off")), store)

    async def test_what_is_carried_out_once_is_not_warned_of(
        self, served: tuple[Valkey, RedisStore], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A crash's losses are warned of for credits only."""
        _, store = served
        await check_store(KEYED, store)
        assert caplog.text == ""

    async def test_one_without_an_append_only_file_is_warned_of(
        self, served: tuple[Valkey, RedisStore], caplog: pytest.LogCaptureFixture
    ) -> None:
        """With one, nothing is said."""
        server, store = served
        config = JobConfig(endpoints={"a": CHARGING})
        await check_store(config, store)
        assert "the store keeps no append-only file" in caplog.text
        caplog.clear()
        server.ask("CONFIG", "SET", "appendonly", "yes")
        await check_store(config, store)
        assert caplog.text == ""

    async def test_one_that_forbids_config_is_asked_all_the_same(self, served: tuple[Valkey, RedisStore]) -> None:
        """Nothing needs CONFIG: managed servers do not allow it."""
        server, store = served
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        server.ask("ACL", "SETUSER", "default", "-config")
        with pytest.raises(ConfigError, match="noeviction"):
            await check_store(CHARGED, store)

    async def test_one_that_may_not_tell_is_warned_of(
        self, served: tuple[Valkey, RedisStore], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A server that forbids INFO is used all the same; the operator is told what it must not do."""
        server, store = served
        server.ask("ACL", "SETUSER", "default", "-info")
        await check_store(CHARGED, store)
        assert "did not say whether it evicts keys" in caplog.text

    async def test_a_stack_does_not_start_on_one_that_evicts(self, served: tuple[Valkey, RedisStore]) -> None:
        """Opening the runtime raises, every time, and leaves no connection behind."""
        server, _ = served
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        client = Client(server.url, deadline=5)
        runtime = Runtime(CHARGED, RedisStore(client), FakeClock())
        for _ in range(2):
            with pytest.raises(ConfigError):
                await runtime.open()
            assert client.health == "not open"


@pytest.mark.valkey
async def test_every_primary_of_a_cluster_is_asked(valkey_cluster: Cluster) -> None:
    """One of three that evicts is enough."""
    store = RedisStore(Client(valkey_cluster.url, deadline=5))
    await store.open()
    await check_store(CHARGED, store)
    for primary in valkey_cluster.primaries:
        primary.ask("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
        try:
            with pytest.raises(ConfigError, match="noeviction"):
                await check_store(CHARGED, store)
        finally:
            primary.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await store.close()


class Dead(MemoryStore):
    """A store that never answers."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Raise."""
        raise self.error


async def test_a_store_that_does_not_answer_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """A dead store may come back as anything; the service starts all the same, and refuses with 503."""
    dead = Dead(StoreDown("gone"))
    for store in (dead, FailoverStore(dead, MemoryStore())):
        caplog.clear()
        await check_store(CHARGED, store)
        assert "did not say whether it evicts keys" in caplog.text


async def test_a_mistake_in_a_store_is_not_hidden() -> None:
    """Only what stores may raise means that nothing is known."""
    with pytest.raises(ZeroDivisionError):
        await check_store(CHARGED, Dead(ZeroDivisionError()))


async def test_the_memory_of_a_process_is_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody expects it to survive."""
    await check_store(CHARGED, MemoryStore())
    assert caplog.text == ""
