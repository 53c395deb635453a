"""Parts make up an app: a part is what one package adds, such as dependencies, a decorator, a middleware."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

from fastapi import FastAPI

from benchmarks.apps import KB, fastapi
from benchmarks.calls import Call
from benchmarks.harness import Variant


@dataclass(frozen=True)
class Part:
    """One package, as its README sets it up; `headers` are what a caller sends it."""

    name: str
    config: str
    dependencies: tuple[Any, ...] = ()
    decorate: Callable[[Any], Any] | None = None
    install: Callable[[FastAPI], object] | None = None
    lifespan: Callable[[], AbstractAsyncContextManager[object]] | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    note: str = ""


def app_of(*parts: Part, routes: int = 1, size: int = KB) -> FastAPI:
    """Return the app with all parts, the first part outermost among its kind."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            for part in parts:
                if part.lifespan:
                    await opened.enter_async_context(part.lifespan())
            yield

    decorators = [part.decorate for part in reversed(parts) if part.decorate]
    app = fastapi(
        routes,
        dependencies=[each for part in parts for each in part.dependencies],
        decorate=lambda handler: reduce(lambda inner, decorate: decorate(inner), decorators, handler),
        lifespan=lifespan,
        size=size,
    )
    for part in reversed(parts):
        if part.install:
            part.install(app)
    return app


def alone(part: Part, call: Call | None = None, *, name: str = "", routes: int = 1) -> Variant:
    """Return the app with this part only, called with the headers that it wants."""
    call = call or Call()
    call = call._replace(headers=(*call.headers, *part.headers))
    return Variant(name or part.name, app_of(part, routes=routes), call, part.config, note=part.note)


def together(name: str, parts: Sequence[Part], call: Call | None = None) -> Variant:
    """Return the app with all parts."""
    call = call or Call()
    headers = tuple(header for part in parts for header in part.headers)
    config = "; ".join(f"{part.name}: {part.config}" for part in parts)
    return Variant(name, app_of(*parts), call._replace(headers=(*call.headers, *headers)), config)
