"""The service: a plain handler that asks another server. What keeps its failures in bounds stands in policies.toml."""

from contextlib import suppress
from pathlib import Path

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from forecourt import JobConfig, PolicyMiddleware


class Quote(BaseModel):
    """What a symbol costs."""

    symbol: str
    price: float


app = FastAPI(title="Quotes")
config = JobConfig.from_file(Path(__file__).with_name("policies.toml"))
app.add_middleware(PolicyMiddleware, config=config)


@app.get("/quotes/{symbol}")
async def get_quote(symbol: str) -> Quote:
    """Ask what a symbol costs."""
    return await _quote("exchange", symbol)


@app.get("/bare/{symbol}")
async def get_bare_quote(symbol: str) -> Quote:
    """Ask the same, with nothing that keeps failures in bounds."""
    return await _quote("bare", symbol)


@app.get("/stubborn/{symbol}")
async def get_stubborn_quote(symbol: str) -> Quote:
    """Ask the same, three times where need be, as a loop in a handler does."""
    for _ in range(2):
        with suppress(httpx.HTTPError):
            return await _quote("bare", symbol)
    return await _quote("bare", symbol)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "ok"}


async def _quote(upstream: str, symbol: str) -> Quote:
    answer = await config.upstream(upstream).get(f"/quotes/{symbol}")
    answer.raise_for_status()
    return Quote(symbol=symbol, price=answer.json()["price"])
