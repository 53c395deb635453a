"""Fixtures that several test files share: real servers, started once per run."""

from collections.abc import Iterator

import pytest

from tests.servers import Cluster, Valkey


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
