"""A service whose config changes while it runs: each answer says under which config each of its layers stood."""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Extra, JobConfig, PolicyMiddleware
from forecourt.stack import Site
from forecourt.stores.contract import Store
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Clock, Receive, Scope, Send
from tests.asgi import Answer, get
from tests.callers import settle_down

POLICIES = """
{more}
[default.deprecation]
since = 2026-01-01T00:00:00Z
successor = "/n{number}"
[default.rate_limit]
type = "fixed_window"
name = "n{number}"
limit = 1000000
window = 3600
"""


class Pausing:
    """A layer that lets others run in the middle of a call, for longer each time up to seven turns."""

    turns = 0

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pause, and call on."""
        if scope["type"] == "http":
            Pausing.turns = (Pausing.turns + 1) % 8
            for _ in range(Pausing.turns):
                await asyncio.sleep(0)
        await self.app(scope, receive, send)


def _pausing(app: ASGIApp, _site: Site) -> ASGIApp:
    return Pausing(app)


class Changing:
    """One process of it, on a clock that stands still; its file is `path`."""

    def __init__(
        self,
        path: Path,
        *,
        watch: Literal["file", "store"] | None = "file",
        store: Store | None = None,
        clock: Clock | None = None,
        several: bool = False,
    ) -> None:
        self.path = path
        self.clock = clock or FakeClock()
        self.config = JobConfig.from_file(path)
        given: dict[str, Any] = {"config": self.config, "clock": self.clock, "store": store}
        one = [Middleware(PolicyMiddleware, watch=watch, extra=[Extra("rate_limit", _pausing)], **given)]
        stacks = [
            Middleware(PolicyMiddleware, layers=("errors", "metrics", "deprecation"), watch=watch, **given),
            Middleware(Pausing),
            Middleware(PolicyMiddleware, layers=("rate_limit",), **given),
        ]
        self.app = Starlette(routes=[Route("/", self._answer, name="read")], middleware=stacks if several else one)

    async def get(self) -> Answer:
        """Make a call."""
        return await get(self.app, "/")

    async def number(self) -> int:
        """Return the number of the config that a call meets, of which all its layers tell the same."""
        numbers = told(await self.get())
        assert len(numbers) == 1, numbers
        return numbers.pop()

    async def look(self) -> None:
        """Let the process look at its file until it would have read what is there, and see to it."""
        for _ in range(3):
            await settle_down()
            self.advance(0.25)
        await settle_down()

    def advance(self, seconds: float) -> None:
        """Let time pass, on a clock that stands still."""
        assert isinstance(self.clock, FakeClock)
        self.clock.advance(seconds)

    async def follows(self, number: int) -> None:
        """Return once calls meet the config of this number, however many looks a busy machine takes for it."""
        async with asyncio.timeout(20):
            while f"n{number}" not in repr(self.config.default):
                await self.look()

    async def _answer(self, _: Request) -> Response:
        return PlainTextResponse(str(os.getpid()))


def write(path: Path, number: int, more: str = "") -> None:
    """Replace a policy file by the one of this number, as deployments do."""
    new = path.with_suffix(".new")
    new.write_text(POLICIES.format(number=number, more=more))
    new.replace(path)


def told(answer: Answer) -> set[int]:
    """Return the numbers of the configs that an answer's layers tell of."""
    assert answer.status == 200, answer.status
    assert "link" in answer.headers
    return numbers(answer.headers)


def numbers(fields: Mapping[str, str]) -> set[int]:
    """Return the numbers that an answer's fields tell of: the link's, and the limits', where the store answered."""
    return {number for name in ("link", "ratelimit-policy") if name in fields for number in _numbers(fields[name])}


def _numbers(field: str) -> Iterator[int]:
    found = re.findall(r"n(\d+)", field)
    assert found, field
    return map(int, found)
