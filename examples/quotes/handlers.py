"""Plain handlers that ask another server. What keeps its failures in bounds stands in policies.toml."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated

import httpx
from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

Client = Callable[[], httpx.AsyncClient]
"""Returns the client of another server."""

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Quote(BaseModel):
    """What a symbol costs."""

    symbol: str
    price: float


def quotes(client: Client, prefix: str = "/quotes", name: str = "get_quote") -> APIRouter:
    """Return the route that asks for prices by this client."""
    routes = APIRouter()

    @routes.get(prefix + "/{symbol}", name=name)
    async def get_quote(symbol: str) -> Quote:
        """Ask what a symbol costs."""
        return await _quote(client(), symbol)

    return routes


def stubborn(client: Client) -> APIRouter:
    """Return the route that asks again by itself, for the contrast."""
    routes = APIRouter()

    @routes.get("/stubborn/{symbol}")
    async def get_stubborn_quote(symbol: str) -> Quote:
        """Ask the same, three times where need be, as a loop in a handler does."""
        for _ in range(2):
            with suppress(httpx.HTTPError):
                return await _quote(client(), symbol)
        return await _quote(client(), symbol)

    return routes


async def _quote(client: httpx.AsyncClient, symbol: str) -> Quote:
    answer = await client.get(f"/quotes/{symbol}")
    answer.raise_for_status()
    return Quote(symbol=symbol, price=answer.json()["price"])


def charts(client: Client) -> APIRouter:
    """Return the routes of files that the other server keeps; they pass piece by piece, whatever their size."""
    routes = APIRouter()

    @routes.put("/charts/{name}", status_code=201)
    async def put_chart(name: Name, request: Request) -> dict[str, str]:
        """Pass a file on while it comes."""
        length = request.headers.get("content-length")
        fields = {"content-length": length} if length else {}
        answer = await client().put(f"/files/{name}", content=request.stream(), headers=fields)
        answer.raise_for_status()
        return {"name": name}

    @routes.get("/charts/{name}")
    async def get_chart(name: Name) -> StreamingResponse:
        """Give a file while it comes."""
        other = client()
        answer = await other.send(other.build_request("GET", f"/files/{name}"), stream=True)
        if answer.status_code == 404:
            await answer.aclose()
            raise HTTPException(404)
        answer.raise_for_status()
        fields = {"content-length": answer.headers["content-length"]}
        return StreamingResponse(_pieces(answer), headers=fields, media_type="application/octet-stream")

    return routes


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Pass an answer on; whoever leaves in the middle lets the other server go too."""
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


others = APIRouter()


@others.get("/health")
async def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "ok"}
