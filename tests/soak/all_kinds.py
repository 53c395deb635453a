"""Every kind of question, leases and credits too, on a cluster and behind sentinels: nobody passes who must not."""

import asyncio
import time
from collections.abc import Callable, Iterator

from forecourt.stores.redis.cluster import key_slot
from tests.servers import HOST, Cluster, ClusterNode, Sentinels
from tests.soak.crowd import GRANT, Order, processes
from tests.soak.over_admission import STARTING, grant, verdict
from tests.soak.results import Result
from tests.soak.topologies import promote

SLOT = key_slot(GRANT.key)
"""Where all keys of the crowd lie."""


def on_cluster(seconds: float = 4, number: int = 8, tasks: int = 250, starting: float = STARTING) -> Iterator[Result]:
    """Three primaries: all well, a failover in order, and the slot of all keys moved to another primary."""
    with Cluster() as servers:
        yield _crowded("cluster, all well", servers.url, seconds, number, tasks, starting)
    with Cluster(replicas=1, node_timeout=1500) as servers:
        replica = servers.replicas[servers.primaries.index(servers.serving(SLOT))]
        what = "cluster, failover in order"
        yield _crowded(what, servers.url, seconds, number, tasks, starting, lambda: promote(replica))
    with Cluster() as servers:
        what = "cluster, a slot moved to another primary"
        yield _crowded(what, servers.url, seconds, number, tasks, starting, lambda: _move(servers))


def by_sentinels(seconds: float = 2, number: int = 8, tasks: int = 250, starting: float = STARTING) -> Iterator[Result]:
    """A primary that sentinels name."""
    with Sentinels(3) as servers:
        yield _crowded("sentinels, all well", servers.url, seconds, number, tasks, starting)


def all_kinds() -> Iterator[Result]:
    """Every kind of question on three primaries and behind sentinels: 8 processes with 250 tasks each."""
    yield from on_cluster()
    yield from by_sentinels()


def _crowded(
    what: str,
    url: str,
    seconds: float,
    number: int,
    tasks: int,
    starting: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> Result:
    asyncio.run(grant(url))
    return verdict(what, processes(Order(url, tasks, time.time() + starting, seconds), number, meanwhile))


def _move(servers: Cluster) -> None:
    """Move the slot as an operator does, key by key."""
    old = servers.serving(SLOT)
    new = servers.primaries[(servers.primaries.index(old) + 1) % 3]
    new.ask("CLUSTER", "SETSLOT", SLOT, "IMPORTING", old.id)
    old.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", new.id)
    while keys := _keys(old):
        for key in keys:
            old.ask("MIGRATE", HOST, new.port, key, 0, 5000)
    for node in (new, old):
        node.ask("CLUSTER", "SETSLOT", SLOT, "NODE", new.id)


def _keys(node: ClusterNode) -> list[bytes]:
    keys = node.ask("CLUSTER", "GETKEYSINSLOT", SLOT, 10)
    assert isinstance(keys, list)
    return keys
