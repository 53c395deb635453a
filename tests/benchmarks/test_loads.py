"""The load generator for where wrk is missing: it counts what was answered, and what was answered wrongly."""

import asyncio

import pytest

from benchmarks.e2e.client import main


@pytest.mark.parametrize(("status", "all_bad"), [(b"200 OK", False), (b"503 Service Unavailable", True)])
async def test_answers_are_counted(status: bytes, all_bad: bool) -> None:
    """Each connection asks again when it is answered, however the answer is cut; other statuses than 200 are bad."""
    heads: list[bytes] = []
    closed: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            heads.append(head)
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\nab")
            await asyncio.sleep(0)
            writer.write(b"cd")

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            closed.append(True)

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    seen = await main(f"http://127.0.0.1:{port}/records/7", 4, 0.2, ["X-Mark: here"])
    server.close()
    while len(closed) < 4:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert heads[0] == f"GET /records/7 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Mark: here\r\n\r\n".encode()
    assert 0 < seen["per_second"] * 0.1 <= len(heads)
    assert bool(seen["bad"]) == all_bad
    assert seen["p99"] > 0
