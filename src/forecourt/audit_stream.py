"""An audit trail in a stream of Redis or Valkey, where many processes and machines keep one.

`JobConfig(audit_log=AuditStream("valkey://audit.internal"))`. Each line is an entry with the one field `line`, and
lines kept together leave in one write. Nothing is ever trimmed; that no line is lost over a restart of the server needs
`appendonly yes`, and `appendfsync always` where not even the last second may be: a write to a disk takes longer than a
decision may, so the trail has a connection and a deadline of its own.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from forecourt.audit import PATIENCE
from forecourt.config_addresses import redacted, store_address
from forecourt.errors import ConfigError
from forecourt.stores.opening import client_of

if TYPE_CHECKING:
    from forecourt.stores.redis.client import Client


class AuditStream:
    """Appends to the stream `key` of the server at `url`; ConfigError where the URL means nothing."""

    def __init__(self, url: str, key: str = "forecourt:audit") -> None:
        try:
            self._url = store_address(url)
        except ValueError as error:
            raise ConfigError(f"audit_log: {error}") from None
        if self._url.startswith("memory:"):
            raise ConfigError("audit_log: memory:// keeps nothing; name a server, such as valkey://host:6379")
        self._key = key
        self._client: Client | None = None

    def __repr__(self) -> str:
        return f"<AuditStream {redacted(self._url)} {self._key}>"

    async def keep(self, lines: Sequence[bytes]) -> None:
        """Append these lines, in order; StoreDown where the server does not take them."""
        client = await self._opened()
        await asyncio.gather(*(client.call("XADD", self._key, "*", "line", line, lane="bodies") for line in lines))

    async def read(self) -> list[bytes]:
        """Return all lines, in the order that they were kept in."""
        client = await self._opened()
        entries = await client.call("XRANGE", self._key, "-", "+", lane="bodies")
        return [fields[1] for _, fields in cast("list[tuple[bytes, list[bytes]]]", entries)]

    async def close(self) -> None:
        """Let go of the connection; the next line opens another."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _opened(self) -> "Client":
        if self._client is None:
            self._client = client_of(self._url, PATIENCE)
        await self._client.open()  # at once, where it is open on this loop
        return self._client
