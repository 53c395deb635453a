"""Several processes with one cache: stacks of equal configs over one store, on one clock."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from forecourt import Cache, EndpointPolicy
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.callers import settle_down
from tests.layers.records import Records
from tests.layers.shared import Shared

POLICY = EndpointPolicy(cache=Cache(ttl=60, tags={"record:{record_id}"}, stale_while_revalidate=30))


class Processes:
    """Two stacks of equal configs over one store, on one clock; `runs` of both handlers are counted together."""

    def __init__(
        self, policy: EndpointPolicy = POLICY, answer: Callable[[Request, int], Response] | None = None
    ) -> None:
        self.clock = FakeClock()
        self.store = Shared(MemoryStore(self.clock))
        self.one, self.two = (
            Records(policy, clock=self.clock, store=LanedStore(MemoryStore(self.clock), self.store), answer=answer)
            for _ in range(2)
        )

    @property
    def runs(self) -> int:
        """How often handlers have run."""
        return self.one.runs + self.two.runs

    async def pass_by(self, seconds: float, step: float = 0.025) -> None:
        """Let time pass, so that everybody polls."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await settle_down()
