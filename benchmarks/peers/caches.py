"""Response caches of peers, in memory, in SQLite or on Valkey; entries live for an hour."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import cashews
import fastapi_alcazaba
import redis.asyncio
from fastapi import Depends, FastAPI
from fastapi_alcazaba.backends.inmemory import InMemoryBackend as AlcazabaMemory
from fastapi_alcazaba.backends.redis import RedisBackend as AlcazabaRedis
from fastapi_alcazaba.decorator import cache as alcazaba_cache
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache as fastapi_cache
from hishel import AsyncRedisStorage, AsyncSqliteStorage
from hishel.asgi import ASGICacheMiddleware
from hishel.fastapi import cache as cache_control
from litestar import Litestar, get
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore
from redis_fastapi import FastAPIRedis, get_settings
from redis_fastapi import cache as redis_fastapi_cache

from benchmarks.apps import Record, record
from benchmarks.calls import ASGIApp, Call
from benchmarks.harness import Variant
from benchmarks.peers.parts import Part

TTL = 3600


def fastapi_cache2(url: str | None) -> Part:
    """Return fastapi-cache2; its state is global, so one place at a time."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        backend = RedisBackend(redis.asyncio.from_url(url)) if url else InMemoryBackend()
        FastAPICache.reset()
        FastAPICache.init(backend, prefix="fastapi-cache")
        yield

    return Part(
        "fastapi-cache2",
        "@cache(expire=3600), JsonCoder; one entry for all callers",
        decorate=fastapi_cache(expire=TTL),
        lifespan=lifespan,
    )


def cashews_part(url: str | None) -> Part:
    """Return cashews' decorator."""
    cache = cashews.Cache()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        cache.setup(url or "mem://")
        await cache.init()
        yield
        await cache.close()

    return Part(
        "cashews",
        '@cache(ttl="1h", key="record:{record_id}"), pickled; one entry for all callers',
        decorate=_on_gets(cache(ttl="1h", key="record:{record_id}")),
        lifespan=lifespan,
    )


def _on_gets(decorate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Decorate only handlers that have a record's id, as the key needs it."""
    return lambda handler: decorate(handler) if "record_id" in handler.__annotations__ else handler


def hishel_part(url: str | None, directory: str) -> Part:
    """Return hishel's ASGI middleware on SQLite, its default, or on a server."""
    opened: list[Any] = []

    def install(app: FastAPI) -> None:
        if url:
            storage: Any = AsyncRedisStorage(redis.asyncio.Redis.from_url(url))
        else:
            storage = AsyncSqliteStorage(database_path=f"{directory}/hishel.db")
        opened.append(storage)
        app.add_middleware(ASGICacheMiddleware, storage=storage)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        for storage in opened:
            await storage.close()

    return Part(
        "hishel",
        f"ASGICacheMiddleware by RFC 9111 over {'AsyncRedisStorage' if url else 'AsyncSqliteStorage'}; "
        "the handler says Cache-Control: max-age=3600",
        dependencies=(cache_control(max_age=TTL, public=True),),
        install=install,
        lifespan=lifespan,
    )


def alcazaba(url: str | None) -> Part:
    """Return fastapi-alcazaba's decorator; its default cache is global, so one place at a time."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        backend = AlcazabaRedis(redis.asyncio.from_url(url)) if url else AlcazabaMemory()
        fastapi_alcazaba.FastAPICache.reset()
        fastapi_alcazaba.FastAPICache.init(backend, prefix="alcazaba")
        yield

    return Part(
        "fastapi-alcazaba",
        "@cache(expire=3600, vary_headers=()); one entry for all callers",
        decorate=_on_gets(alcazaba_cache(expire=TTL, vary_headers=())),
        lifespan=lifespan,
    )


def redis_sdk(url: str) -> Part:
    """Return fastapi-redis-sdk, which works on a server only."""

    def install(app: FastAPI) -> None:
        get_settings().url = url
        FastAPIRedis(app).lifespan().caching()

    return Part(
        "fastapi-redis-sdk",
        "Depends(cache(ttl=3600)), lifespan().caching()",
        dependencies=(Depends(redis_fastapi_cache(ttl=TTL)),),
        install=install,
    )


def litestar(url: str | None, call: Call) -> list[Variant]:
    """Return Litestar's own response cache on one of its handlers, and that handler without it."""
    bare, cached = _litestar(url, cached=False), _litestar(url, cached=True)
    return [
        Variant("Litestar alone", bare, call, "an app of Litestar's, the same model", side="base"),
        Variant("Litestar", cached, call, "@get(cache=3600), response_cache in its default form"),
    ]


def _litestar(url: str | None, *, cached: bool) -> ASGIApp:
    @get("/records/{record_id:int}", cache=TTL if cached else False, sync_to_thread=False)
    def get_record(record_id: int) -> Record:
        return record(record_id)

    store = RedisStore.with_client(url=url) if url else MemoryStore()
    return Litestar([get_record], stores={"response_cache": store})
