"""Idempotency keys of peers: the first call of each key, and its replay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio
from fastapi import FastAPI
from fastapi_alcazaba import Cache
from fastapi_alcazaba.backends.inmemory import InMemoryBackend
from fastapi_alcazaba.backends.redis import RedisBackend as AlcazabaRedis
from fastapi_alcazaba.idempotency import IdempotencyMiddleware
from idempotency_header_middleware import IdempotencyHeaderMiddleware
from idempotency_header_middleware.backends import MemoryBackend, RedisBackend

from benchmarks.calls import Call
from benchmarks.peers.parts import Part

POST = Call("POST", "/records", body=b'{"id": 7}')
FIRST = POST._replace(unique=b"idempotency-key")
REPLAY = POST._replace(headers=((b"idempotency-key", b"always-the-same"),))


def asgi_idempotency_header(url: str | None) -> Part:
    """Return asgi-idempotency-header."""
    backend = RedisBackend(redis=redis.asyncio.from_url(url)) if url else MemoryBackend()

    def install(app: FastAPI) -> None:
        app.add_middleware(IdempotencyHeaderMiddleware, backend=backend)  # type: ignore[arg-type]  # its README

    return Part(
        "asgi-idempotency-header",
        "IdempotencyHeaderMiddleware with its defaults; no fingerprint, keys shared by all callers",
        install=install,
    )


def alcazaba(url: str | None) -> Part:
    """Return fastapi-alcazaba's middleware."""
    backend = AlcazabaRedis(redis.asyncio.from_url(url)) if url else InMemoryBackend()
    cache = Cache(backend, prefix="idempotency")

    def install(app: FastAPI) -> None:
        cache.install(app)
        app.add_middleware(IdempotencyMiddleware)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        await cache.close()

    return Part("fastapi-alcazaba", "IdempotencyMiddleware with its defaults", install=install, lifespan=lifespan)
