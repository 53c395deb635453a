"""What a group of benchmarks is given: how long to measure, a server, and where to say how far it is."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property

from benchmarks import harness, valkey
from benchmarks.harness import Plan, Variant, Work
from benchmarks.results import Row


class Bench:
    """One group's run. The server is started when it is first asked for, and stopped by `close`."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.plan: Plan = harness.QUICK if quick else harness.FULL
        self._opened = ExitStack()

    @cached_property
    def server(self) -> valkey.Valkey:
        """A Valkey of this group alone."""
        return self._opened.enter_context(valkey.running())

    def close(self) -> None:
        """Stop the server."""
        self._opened.close()

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"   {text}", file=sys.stderr, flush=True)

    async def measure(
        self, what: str, variants: Sequence[Variant], *, tasks: int = 1, count: bool = False, plan: Plan | None = None
    ) -> list[Row]:
        """Measure requests in turns; `count` what they send to the server."""
        self.say(f"{what}: {len(variants)} variants")
        server = self.server if count else None
        return await harness.measure(variants, plan or self.plan, tasks=tasks, server=server)

    async def measure_works(
        self, what: str, works: Sequence[Work], *, tasks: int = 1, plan: Plan | None = None
    ) -> list[Row]:
        """Measure anything else in turns."""
        self.say(f"{what}: {len(works)} variants")
        return await harness.measure_works(works, plan or self.plan, tasks=tasks)
