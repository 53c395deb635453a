"""What the server's one thread is asked for: µs per call by its own count (INFO commandstats), and bytes per key."""

import asyncio
import itertools
import struct
from collections.abc import Sequence

import redis.asyncio

from benchmarks.results import Row, Table
from benchmarks.valkey import Valkey
from forecourt.stores.scripts import compose_decision

_CONNECTIONS = 50
_CALLS = 2000
_KEYS = 500
_OPERATIONS = (1, 2, 3, 6)
_KIND, _ARGS = "token_bucket", struct.pack("<5q", 100, 1_000_000, 1, 1, 0)  # 100 tokens, one more a second
_KEY = "forecourt:{abcdefghijklmnop}:limit:get_record:0"


_FLOORS = {
    "an empty script": ("return 1", "return 1"),
    "the least that a limit needs": (
        "a script that asks the time, reads a key and writes it with an expiry, and computes nothing",
        "redis.call('TIME') redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], 'x', 'PX', '1000') return 1",
    ),
}
"""Scripts that show what no script can be below: name → (what it is, its text)."""


class _Counted:
    """Runs commands on many connections at once, one at a time on each, and asks the server what they took."""

    def __init__(self, server: Valkey) -> None:
        self._server = server.client
        self._connections = [redis.asyncio.Connection(**_address(server)) for _ in range(_CONNECTIONS)]

    async def open(self) -> None:
        await asyncio.gather(*(connection.connect() for connection in self._connections))

    async def close(self) -> None:
        await asyncio.gather(*(connection.disconnect() for connection in self._connections))

    async def per_call(self, name: str, command: Sequence[object], keys: int) -> float:
        """Return the server's µs per call; `{}` in a word is the number of its key."""
        numbers = itertools.cycle(range(_KEYS))

        async def work(connection: redis.asyncio.Connection) -> None:
            for _ in range(_CALLS // _CONNECTIONS):
                number = next(numbers)
                words = [word.format(number) if isinstance(word, str) else word for word in command]
                await connection.send_command(*words)
                await connection.read_response()

        self._server.flushdb()
        self._server.config_resetstat()
        await asyncio.gather(*(work(connection) for connection in self._connections))
        spent = self._server.info("commandstats")[f"cmdstat_{name}"]
        assert len(self._server.keys()) == keys * _KEYS
        return float(spent["usec"] / spent["calls"])


def _address(server: Valkey) -> dict[str, object]:
    given = server.client.connection_pool.connection_kwargs
    return {"host": given["host"], "port": given["port"], "protocol": 2}


async def table(server: Valkey, rounds: int) -> Table:
    """Measure an INCRBY and scripts of several token buckets, in turns."""
    counted = _Counted(server)
    await counted.open()
    shas = {count: server.client.script_load(compose_decision((_KIND,) * count)) for count in _OPERATIONS}
    floors = {name: server.client.script_load(text) for name, (_, text) in _FLOORS.items()}
    measured: dict[int | str, list[float]] = {0: [], **{each: [] for each in (*floors, *_OPERATIONS)}}
    for _ in range(rounds):
        measured[0].append(await counted.per_call("incrby", ("INCRBY", "n:{}", 1), 1))
        for name, sha in floors.items():
            writes = int("SET" in _FLOORS[name][1])
            measured[name].append(await counted.per_call("evalsha", ("EVALSHA", sha, 1, "bench:{}"), writes))
        for count, sha in shas.items():
            keys = [f"bench:{{}}:{place}" for place in range(count)]
            command = ("EVALSHA", sha, count, *keys, *[_ARGS] * count)
            measured[count].append(await counted.per_call("evalsha", command, count))
    await counted.close()
    rows = [
        Row("INCRBY", measured[0], "the plain command", "base"),
        *(Row(name, measured[name], config, "base") for name, (config, _) in _FLOORS.items()),
    ]
    rows += [
        Row(f"{count} token {'bucket' if count == 1 else 'buckets'}", measured[count], "one script", "ours")
        for count in _OPERATIONS
    ]
    about = f"{_CONNECTIONS} connections, one command at a time on each; what commands inside of scripts take is in it."
    return Table("server", "Time of the server per call", rows, "µs", reference="INCRBY", about=about, chart=False)


def memory(server: Valkey) -> Table:
    """Ask the server what one key takes."""
    server.client.eval(compose_decision((_KIND,)), 1, _KEY, _ARGS)
    size = float(server.client.memory_usage(_KEY) or 0)
    about = f"MEMORY USAGE of `{_KEY}`, expiry included."
    return Table(
        "bytes", "Bytes per key", [Row("a token bucket", [size], side="ours")], "bytes", about=about, chart=False
    )
