"""A typical assembly of peers on one route, as a service glues it together today."""

import redis  # noqa: F401  # the clients below need it
import slowapi.util
from fastapi import FastAPI
from slowapi.errors import RateLimitExceeded

from benchmarks.harness import Variant
from benchmarks.peers import auth, breakers, caches, idempotency, telemetry
from benchmarks.peers.parts import Part, together


def slowapi_part(url: str | None) -> Part:
    """Return slowapi's decorator."""
    limiter = slowapi.Limiter(key_func=slowapi.util.get_remote_address, storage_uri=url or "memory://")

    def install(app: FastAPI) -> None:
        app.state.limiter = limiter
        app.add_exception_handler(RateLimitExceeded, slowapi._rate_limit_exceeded_handler)  # type: ignore[arg-type]  # its README

    return Part(
        "slowapi",
        "@limiter.limit, key get_remote_address, fixed window; synchronous client",
        decorate=limiter.limit("1000000/second"),
        install=install,
    )


def _outer() -> list[Part]:
    return [telemetry.otel(), telemetry.instrumentator(), telemetry.structlog_part("json")]


def parts(url: str | None, *, cache: bool = False) -> list[Part]:
    """Return tracing, metrics, logs, auth and a rate limit; with a cache where asked for."""
    inner = [auth.pyjwt(), slowapi_part(url)]
    return [*_outer(), *inner, *([caches.fastapi_cache2(url)] if cache else [])]


def variants(url: str) -> list[Variant]:
    """Return the assembly without and with a cache, and for an idempotent POST behind a breaker."""
    posting = [
        *_outer(),
        idempotency.asgi_idempotency_header(url),
        auth.pyjwt(),
        slowapi_part(url),
        breakers.pybreaker_part(),
    ]
    with_base_http = [*_outer()[:2], telemetry.structlog_part("BaseHTTPMiddleware"), auth.pyjwt(), slowapi_part(url)]
    return [
        together("typical assembly", parts(url)),
        together("typical assembly, one BaseHTTPMiddleware", with_base_http),
        together("typical assembly, cache hit", parts(url, cache=True)),
        together("typical assembly, idempotent POST", posting, idempotency.FIRST),
    ]
