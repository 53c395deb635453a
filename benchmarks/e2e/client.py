"""A small HTTP/1.1 load generator, for where wrk is not installed: `client URL CONNECTIONS SECONDS [HEADER…]`."""

import asyncio
import json
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop


class Connection(asyncio.Protocol):
    """Asks again as soon as it is answered; understands answers with a Content-Length only."""

    def __init__(self, request: bytes, times: list[float]) -> None:
        self._request = request
        self._times = times
        self._buffer = b""
        self.bad = 0
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, rest = head.lower().partition(b"content-length:")
        if len(body) < int(rest.partition(b"\r\n")[0]):
            return
        self._times.append(time.perf_counter() - self._asked)
        self.bad += head[9:12] != b"200"
        self._buffer = b""
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.bad += not self.ended

    def end(self) -> None:
        """Hang up."""
        self.ended = True
        self._transport.close()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)


async def main(url: str, connections: int, seconds: float, headers: list[str]) -> dict[str, float]:
    """Load the address; return what `loads.Load` holds."""
    parts = urlsplit(url)
    lines = [f"GET {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", *headers]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    loop = asyncio.get_running_loop()
    times: list[float] = []
    made = [
        (await loop.create_connection(lambda: Connection(request, times), parts.hostname or "", parts.port or 80))[1]
        for _ in range(connections)
    ]
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - started
    for connection in made:
        connection.end()
    await asyncio.sleep(0)  # so that they are closed
    times.sort()
    bad = sum(connection.bad for connection in made)
    return {"per_second": len(times) / took, "p99": times[len(times) * 99 // 100] * 1e6, "bad": bad}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))))
