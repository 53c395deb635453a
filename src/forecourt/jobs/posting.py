"""Posts one message to an address that somebody else named, and tells the status of the answer.

The name is resolved, every address that it has is judged (`core.webhooks`), and the connection goes to a judged
address itself: nothing resolves the name a second time, so it cannot lead elsewhere in between (DNS rebinding).
`Host` and the name in the certificate stay the caller's. One request for each connection; redirects are answers like
any other; environment proxies are not asked. Of the answer its head is read, 16 KiB at most, and never shown.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address

from forecourt.core.webhooks import Rules, Target, callable_address, target_of

MOST = 16 * 1024
"""Bytes of an answer's head; a longer one is no answer."""

_MOST_INTERIM = 5
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r]")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A name and a port → its addresses."""


class Undelivered(Exception):
    """There is no answer; the text says why, without the address."""


class Poster:
    """Posts within `seconds`; `context` and `resolve` replace the system's certificates and names."""

    def __init__(
        self, rules: Rules, seconds: float, *, context: ssl.SSLContext | None = None, resolve: Resolve | None = None
    ) -> None:
        self._rules = rules
        self._seconds = seconds
        self._context = context
        self._resolve = resolve or resolved

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Return the status of the answer; Undelivered where there is none."""
        try:
            target = target_of(url, self._rules)
            async with asyncio.timeout(self._seconds):
                reader, writer = await self._connected(target)
                try:
                    writer.write(_request(target, headers, body))
                    await writer.drain()
                    return await _status(reader)
                finally:
                    writer.transport.abort()  # what else it says is not wanted, nor waited for
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except ValueError as error:
            raise Undelivered(f"the address {error}") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Undelivered(type(error).__name__) from None
        except asyncio.LimitOverrunError:
            raise Undelivered("the head of the answer is too long") from None

    async def _connected(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = await self._judged(target)
        context = self._tls() if target.tls else None
        name = target.host if target.tls else None
        for place, address in enumerate(addresses):
            try:
                return await asyncio.open_connection(
                    address, target.port, ssl=context, server_hostname=name, limit=MOST
                )
            except OSError:
                if place == len(addresses) - 1:
                    raise
        raise Undelivered("the name has no address")

    async def _judged(self, target: Target) -> list[str]:
        """Return the addresses of a name, if all of them may be called."""
        addresses = list(dict.fromkeys(await self._resolve(target.host, target.port)))
        for address in addresses:
            if not callable_address(ip_address(address.partition("%")[0]), self._rules.allow):
                raise Undelivered("the name leads to an address that is not public")
        return addresses

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


async def resolved(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = {"host": target.authority, "content-length": str(len(body)), "connection": "close", **headers}
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def _status(reader: asyncio.StreamReader) -> int:
    for _ in range(_MOST_INTERIM):
        head = await reader.readuntil(b"\r\n\r\n")
        found = _STATUS.match(head)
        if found is None:
            raise Undelivered("the answer is not HTTP/1.1")
        status = int(found[1])
        if status >= 200:
            return status
    raise Undelivered("the answer does not begin")
