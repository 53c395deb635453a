"""Asks other servers, by httpx: the one module that imports it.

Bounded in time and size; redirects are not followed.
"""

import asyncio
import weakref
from collections.abc import Mapping
from typing import NamedTuple

import httpx

MOST = 512 * 1024
"""Bytes of an answer that are read; a longer one is none."""


class FetchError(Exception):
    """There is no answer, or none that is worth reading; the text holds nothing secret."""


class Fetched(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher:
    """A client for each event loop that asks."""

    def __init__(self) -> None:
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )

    async def get(self, url: str, timeout: float, headers: Mapping[str, str]) -> Fetched:  # noqa: ASYNC109  # all of it
        """Return what is there; FetchError when nothing comes in time."""
        return await self._ask(httpx.Request("GET", url, headers=dict(headers)), timeout)

    async def post(
        self,
        url: str,
        timeout: float,  # noqa: ASYNC109  # of the whole exchange, connecting included
        form: Mapping[str, str],
        user: tuple[str, str],
    ) -> Fetched:
        """Send a form with a client's name and password."""
        request = httpx.Request("POST", url, data=dict(form), headers={"accept": "application/json"})
        next(httpx.BasicAuth(*user).auth_flow(request))
        return await self._ask(request, timeout)

    async def close(self) -> None:
        """Let go of the connections of this loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _ask(self, request: httpx.Request, limit: float) -> Fetched:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = httpx.AsyncClient(follow_redirects=False)
        try:
            async with asyncio.timeout(limit):
                response = await client.send(request, stream=True)
                try:
                    return Fetched(response.status_code, response.headers, await _read(response))
                finally:
                    await response.aclose()
        except TimeoutError:
            raise FetchError("no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            raise FetchError(type(error).__name__) from error


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MOST:
            raise FetchError("the answer is too long")
    return bytes(body)
