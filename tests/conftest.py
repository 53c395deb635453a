"""Fixtures that several test files share: real servers, started once per run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import find, settings
from hypothesis import strategies as st

from forecourt.core import operations
from forecourt.policies import own_limits
from tests.brokers import Pulsar
from tests.core.bench import examples
from tests.distributions import Packages
from tests.postgres import Postgres, binaries
from tests.servers import Cluster, Valkey

pytest.register_assert_rewrite("forecourt.testing.store_contract", "forecourt.testing.strategy_contract")
pytest_plugins = ["forecourt.testing.fixtures"]

# New examples are looked for by people; what lets a change in does not vary.
settings.register_profile("forecourt", max_examples=examples(100), derandomize=bool(os.environ.get("CI")))
settings.load_profile("forecourt")


@pytest.fixture(scope="session", autouse=True)
def characters() -> None:
    """Have Hypothesis's table of characters: in a new clone it is made first, which would count as some test's time."""
    find(st.text(max_size=1), lambda _: True)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """A server that runs as long as the tests do; tests ask for `valkey`."""
    with Valkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """A running, empty server, of which a test may do anything: stop it, stall it, start it."""
    valkey_server.clear()
    return valkey_server


@pytest.fixture(scope="session")
def valkey_cluster_servers() -> Iterator[Cluster]:
    """A cluster of three primaries that runs as long as the tests do; tests ask for `valkey_cluster`."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def valkey_cluster(valkey_cluster_servers: Cluster) -> Cluster:
    """An empty cluster of three primaries, all slots served."""
    valkey_cluster_servers.clear()
    return valkey_cluster_servers


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server that runs as long as the tests do; tests ask for `postgres`."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[Postgres]:
    """A running server, which a test may stop."""
    postgres_server.start()
    yield postgres_server
    postgres_server.start()


@pytest.fixture(scope="module")
def packaged_only() -> Iterator[None]:
    """The strategies of the package alone, whatever other test files have registered as they were imported."""
    registered = dict(own_limits._strategies)
    own_limits._strategies.clear()
    kinds = [kind for name in registered for kind in (name, f"{name}_back")]
    decided = {kind: operations._registry.pop(kind) for kind in kinds if kind in operations._registry}
    yield
    own_limits._strategies.update(registered)
    operations._registry.update(decided)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    """A folder on the path to install packages into."""
    folder = tmp_path / "packages"
    folder.mkdir()
    return Packages(folder, monkeypatch)


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The address of a new SQLite file."""
    return f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite3'}"


@pytest.fixture(scope="session")
def pulsar_broker() -> Iterator[Pulsar]:
    """A broker that runs as long as the tests do; a queue of a new name is an empty one."""
    with Pulsar() as broker:
        yield broker
