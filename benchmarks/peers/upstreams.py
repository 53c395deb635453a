"""Calls to a server on loopback: by httpx alone, with what others put around it, and by an upstream of ours."""

import asyncio
from collections.abc import Awaitable, Callable

import aiobreaker
import httpx
from httpx_retries import Retry as RetriesOfHttpx
from httpx_retries import RetryTransport

from benchmarks.harness import Work
from forecourt import CircuitBreaker, JobConfig, Retry, Timeout, Upstream

PATH = "/quotes/ACME"

Run = Callable[[], Awaitable[None]]


def works(address: str) -> list[Work]:
    """Return the call by httpx alone, and the others around it."""
    every = Upstream(
        base_url=address, circuit_breaker=CircuitBreaker(), retry=Retry(), timeout=Timeout(seconds=5, per_attempt=2)
    )
    return [
        Work("httpx alone", _get(httpx.AsyncClient(base_url=address, trust_env=False)), side="base"),
        Work("httpx-retries", _retries(address), "RetryTransport(retry=Retry(total=3))"),
        Work("aiobreaker", _aiobreaker(address), "await breaker.call_async(client.get, path)"),
        Work("httpx-retries, aiobreaker and asyncio.timeout", _all(address), "one around the other"),
        Work("forecourt, no policy", _ours(Upstream(base_url=address)), "config.upstream(name)", side="ours"),
        Work("forecourt", _ours(every), "with circuit_breaker, retry and timeout", side="ours"),
    ]


def _get(client: httpx.AsyncClient) -> Run:
    async def run() -> None:
        (await client.get(PATH)).raise_for_status()

    return run


def _retries(address: str) -> Run:
    transport = RetryTransport(retry=RetriesOfHttpx(total=3))
    return _get(httpx.AsyncClient(base_url=address, trust_env=False, transport=transport))


def _aiobreaker(address: str) -> Run:
    get = _get(httpx.AsyncClient(base_url=address, trust_env=False))
    breaker = aiobreaker.CircuitBreaker(fail_max=5)

    async def run() -> None:
        await breaker.call_async(get)

    return run


def _all(address: str) -> Run:
    get = _retries(address)
    breaker = aiobreaker.CircuitBreaker(fail_max=5)

    async def run() -> None:
        async with asyncio.timeout(5):
            await breaker.call_async(get)

    return run


def _ours(policy: Upstream) -> Run:
    config = JobConfig(upstreams={"quotes": policy})

    async def run() -> None:
        (await config.upstream("quotes").get(PATH)).raise_for_status()

    return run
