"""The one module that imports redis-py: it opens connections, authenticates, speaks TLS, parses replies.

What makes a connection usable for many callers at once: `read_response` has no timeout of its own and does not hang
up on an error reply, and `check_health` and `re_auth` never run, because their replies would be taken for somebody
else's.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, cast

from redis import exceptions
from redis.asyncio.connection import Connection as TCPConnection
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from forecourt.stores.redis.commands import Item, Reply, ReplyError, Script, pack
from forecourt.stores.redis.urls import Location, Place, Setting

PING = pack(b"PING")

REFUSED = (exceptions.ResponseError, exceptions.BusyLoadingError, exceptions.AuthenticationError)
"""Error replies, as redis-py raises them; the connection goes on."""

LOST = (exceptions.RedisError, OSError, EOFError)
"""The connection is of no more use, unless the error is one of REFUSED."""

_CLASSES = {"tcp": TCPConnection, "tls": SSLConnection, "unix": UnixDomainSocketConnection}
# redis-py takes the code off the text of the errors it knows, and not every version keeps it.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.NoScriptError, "NOSCRIPT"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.AuthenticationError, "NOAUTH"),
)


class Connection(Protocol):
    """What we use of a redis-py connection."""

    async def connect(self) -> None:
        """Connect, authenticate, select the database."""
        ...

    async def send_packed_command(self, command: Iterable[bytes], check_health: bool = True) -> None:
        """Write, and wait while too much is unsent."""
        ...

    async def read_response(self, disable_decoding: bool = False, *, disconnect_on_error: bool = True) -> Reply:
        """Return the next reply; raises error replies."""
        ...

    async def disconnect(self, nowait: bool = False) -> None:
        """Close."""
        ...


def reply_error(error: Exception) -> ReplyError:
    """Return an error reply as ours."""
    text = str(error)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return ReplyError(code, text.removeprefix(f"{code} "))
    first, _, rest = text.partition(" ")
    if first.isupper():
        return ReplyError(first, rest)
    return ReplyError("ERR", text)


def reason(error: BaseException) -> str:
    """Return what went wrong, in words."""
    return str(error) or type(error).__name__


async def connect(location: Location, place: Place, patience: float, *, sentinel: bool = False) -> Connection:
    """Connect to one server of a location, as the URL says; raises REFUSED, LOST or TimeoutError."""
    settings: dict[str, Setting | None] = {"protocol": 2, "socket_connect_timeout": patience}
    settings |= location.sentinel_settings if sentinel else location.settings
    settings |= {"path": place.host} if location.transport == "unix" else {"host": place.host, "port": place.port}
    settings["socket_timeout"] = None
    connection = cast("Connection", _CLASSES[location.transport](**settings))
    try:
        async with asyncio.timeout(patience):
            await connection.connect()
    except BaseException:
        await hang_up(connection)
        raise
    return connection


async def greet(
    dial: Callable[[], Awaitable[Connection]], scripts: Sequence[Script], patience: float
) -> tuple[Connection, list[Reply | ReplyError]]:
    """Open a connection that serves and knows these scripts; return it with the answer to each SCRIPT LOAD.

    A server that is not ready to serve answers PING with an error, which is raised.
    """
    async with asyncio.timeout(patience):
        connection = await dial()
        try:
            *loads, pong = await ask(connection, *(script.load for script in scripts), PING)
            if isinstance(pong, ReplyError):
                raise pong
        except BaseException:
            await hang_up(connection)
            raise
    return connection, loads


def backoff(failures: int) -> float:
    """Return the seconds before the next attempt: none at first, then up to 10 ms, doubling to half a second."""
    if not failures:
        return 0.0
    longest: float = min(0.5, 0.005 * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # jitter


async def ask(connection: Connection, *commands: bytes) -> list[Reply | ReplyError]:
    """Send packed commands on a connection nobody else uses yet; error replies are returned."""
    await connection.send_packed_command(commands, check_health=False)
    replies: list[Reply | ReplyError] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disable_decoding=True, disconnect_on_error=False))
        except REFUSED as error:
            replies.append(reply_error(error))
    return replies


async def ask_once(location: Location, place: Place, patience: float, *command: Item, sentinel: bool = False) -> Reply:
    """Ask one thing on a connection of its own; raises ReplyError, REFUSED, LOST or TimeoutError."""
    async with asyncio.timeout(patience):
        connection = await connect(location, place, patience, sentinel=sentinel)
        try:
            (reply,) = await ask(connection, pack(*command))
        finally:
            await hang_up(connection)
    if isinstance(reply, ReplyError):
        raise reply
    return reply


def stream_of(connection: Connection) -> asyncio.StreamWriter | None:
    """Return where a connection writes, None when it has none; redis-py has no public name for it."""
    stream: asyncio.StreamWriter | None = getattr(connection, "_writer", None)
    return stream


async def hang_up(connection: Connection) -> None:
    """Close at once; what was not sent yet is thrown away, or a server that stands still would hold it."""
    stream = stream_of(connection)
    if stream is not None:
        stream.transport.abort()
    await connection.disconnect(nowait=True)
