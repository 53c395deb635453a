"""Endpoint: resolved once, before all else."""

from forecourt import JobConfig
from forecourt.exchange import Exchange
from forecourt.layers.endpoint import EndpointLayer
from forecourt.runtime import Runtime
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import Receive, Scope, Send
from tests.asgi import call, http


async def test_before_there_is_a_table_nothing_is_an_endpoint() -> None:
    """A layer that no stack has given a table to passes everything on as what no route matches."""
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    scope = http("/")
    exchange = Exchange(Runtime(JobConfig(), MemoryStore(), FakeClock()), scope)

    async def run(_: Scope, receive: Receive, send: Send) -> None:
        await exchange.run(EndpointLayer(app), receive, send)

    await call(run, scope)
    assert seen == [scope]
    assert (exchange.endpoint, exchange.params) == (None, {})
