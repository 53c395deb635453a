"""The servers that a config names, for handlers to call: `config.upstream("payments")`.

What makes the calls is `upstream_transport`, which needs httpx; without upstreams it is never imported.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from forecourt.breakers import Breakers
from forecourt.errors import ConfigError
from forecourt.policies.upstream import Upstream
from forecourt.policies.wording import nearest
from forecourt.types import Clock, SystemClock

if TYPE_CHECKING:
    from forecourt.upstream_transport import Client, Failure, UpstreamTransport


class Upstreams:
    """All upstreams of one config in this process."""

    def __init__(self, named: Mapping[str, Upstream], breakers: Breakers) -> None:
        self._named = named
        self._breakers = breakers
        self._clock: Clock = SystemClock()
        self._made: dict[str, UpstreamTransport] = {}
        self._clients: dict[str, Client] = {}

    def __repr__(self) -> str:
        return f"<Upstreams {', '.join(self._named)}>"

    def bind(self, clock: Clock) -> None:
        """Make ready what is named, and tell the time by this clock; ConfigError where httpx is missing."""
        self._clock = clock
        for name in self._named:
            self._transport(name).clock = clock

    def client(self, name: str) -> "Client":
        """Return the client of this name; ConfigError when no upstream has it."""
        if name not in self._named:
            hint = nearest(name, self._named) or f"; there are {', '.join(sorted(self._named)) or 'none'}"
            raise ConfigError(f'upstream: there is no upstream named "{name}"{hint}')
        client = self._clients.get(name)
        if client is None or client.is_closed:
            client = self._clients[name] = self._transport(name).client()
        return client

    def failure(self, error: Exception) -> "Failure | None":
        """Return which upstream an error comes from, and whether it was late; None where it comes from none."""
        for transport in self._made.values():
            if (found := transport.failure(error)) is not None:
                return found
        return None

    async def close(self) -> None:
        """Let go of the connections of this loop."""
        for transport in self._made.values():
            await transport.close()

    def _transport(self, name: str) -> "UpstreamTransport":
        if name not in self._made:
            try:
                from forecourt.upstream_transport import UpstreamTransport  # noqa: PLC0415  # httpx is an extra
            except ImportError as error:
                raise ConfigError("upstreams: calling them needs httpx: pip install 'forecourt[httpx]'") from error
            policy = self._named[name]
            breaker = self._breakers.of(policy.breaker, name) if policy.breaker else None
            self._made[name] = UpstreamTransport(name, policy, breaker, self._clock)
        return self._made[name]
