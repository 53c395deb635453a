"""Everything that the console shows, gathered at most once a second however many look.

What only this process knows is its own: calls, layers, callers, breakers that are not shared, all that is in memory.
What the store or a queue outside of the process knows is the fleet's. Each part says which it is.
"""

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence

from forecourt.breakers import Breaker
from forecourt.config_addresses import redacted
from forecourt.config_spelling import spelt_policy
from forecourt.console import standing
from forecourt.console.comparing import Comparing
from forecourt.console.watching import SLOT, SLOTS, Watching
from forecourt.core.breaker import Open
from forecourt.errors import StoreError
from forecourt.jobs.queue import Lists, Queue, Record
from forecourt.jobs.queues import JobQueues
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.contract import Question
from forecourt.types import SECOND

Told = dict[str, object]

_ANSWER = 1.0
"""Seconds that the store or a queue may take to say how it stands."""

_KEPT = SECOND
_MOST_JOBS = 20

OWN, FLEET = "process", "fleet"


class State:
    """What one config's console shows of an app with these endpoints."""

    def __init__(self, runtime: Runtime, watching: Watching, endpoints: Sequence[Endpoint], queues: JobQueues) -> None:
        self._runtime = runtime
        self._config = runtime.config
        self.watching = watching
        self.endpoints = [each for each in endpoints if not self._config.console.owns(each)]
        self.queues = queues
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self.in_memory = runtime.at_once is not None or self._config.store.startswith("memory:")
        """Whether what the store knows is this process's own."""
        self._names = list(dict.fromkeys(each.name for each in self.endpoints))
        self._users = self._users_of_breakers()
        self._comparing = Comparing(self._config, endpoints)
        self._told: tuple[int, Told] | None = None
        self._gathering: asyncio.Task[Told] | None = None

    def policies(self) -> list[Told]:
        """Return what protects each endpoint, and where each part comes from."""
        return [self._policies(endpoint) for endpoint in self.endpoints]

    async def now(self, *, fresh: bool = False) -> Told:
        """Return how all stands; `fresh`: since an action, what was gathered before is of no use."""
        now = self._runtime.clock.now()
        if not fresh and self._told is not None and 0 <= now - self._told[0] < _KEPT:
            return self._told[1]
        if fresh or self._gathering is None or self._gathering.done():
            self._gathering = asyncio.get_running_loop().create_task(self._gather())
        return await asyncio.shield(self._gathering)

    async def _gather(self) -> Told:
        jobs, store, compared = await asyncio.gather(self._jobs(), self._store(), self._comparing.told())
        now, watching = self._runtime.clock.now(), self.watching
        told: Told = {
            "worker": {"id": self.worker, "since": watching.began / SECOND},
            "at": now / SECOND,
            "span": SLOT * SLOTS // SECOND,
            "slot": SLOT // SECOND,
            "endpoints": standing.endpoints(watching, self._names, self._open_breakers()),
            "refusals": standing.refusals(watching),
            "layers": standing.layers(watching),
            "limited": standing.limited(watching),
            "limits": {"of": OWN if self.in_memory else FLEET},
            "breakers": [self._breaker(each) for each in self._config.breakers],
            "credits": {"of": OWN if self.in_memory else FLEET},
            "jobs": jobs,
            "store": store,
            "config": compared,
        }
        self._told = (now, told)
        return told

    def _policies(self, endpoint: Endpoint) -> Told:
        policy = self._config.policy_for(endpoint.name, endpoint.protocol)
        fields = policy.fields if policy else {}
        methods = sorted((endpoint.methods or frozenset()) - {"HEAD"})
        return {
            "endpoint": endpoint.name,
            "path": endpoint.path,
            "methods": ["WEBSOCKET"] if endpoint.protocol == "websocket" else methods or ["any"],
            "fields": [
                {"field": name, "policy": spelt_policy(said.value), "source": said.source}
                for name, said in fields.items()
                if said.value is not None
            ],
            "skipped": list(policy.skipped) if policy else [],
        }

    def _users_of_breakers(self) -> Mapping[str, list[str]]:
        users: dict[str, list[str]] = {}
        for endpoint in self.endpoints:
            policy = self._config.policy_for(endpoint.name, endpoint.protocol)
            if policy is not None and policy.circuit_breaker is not None:
                users.setdefault(policy.circuit_breaker.name or endpoint.name, []).append(endpoint.name)
        return users

    def _open_breakers(self) -> Mapping[str, str]:
        """Return, by endpoint, the breaker that keeps calls away from it."""
        shut = [each for each in self._config.breakers if each.state == "open" and each.policy.mode != "shadow"]
        return {endpoint: each.name for each in shut for endpoint in self._users.get(each.name, ())}

    def _breaker(self, breaker: Breaker) -> Told:
        position = breaker.position
        left = position.left(self._runtime.clock.now()) / SECOND if isinstance(position, Open) else None
        return {
            "name": breaker.name,
            "state": breaker.state,
            "of": FLEET if self.is_fleets(breaker) else OWN,
            "mode": breaker.policy.mode,
            "left": None if left is None else max(0.0, round(left, 1)),
            "endpoints": self._users.get(breaker.name, []),
        }

    def is_fleets(self, breaker: Breaker) -> bool:
        """Return whether other processes do as this breaker does."""
        return breaker.fleet is not None and not self.in_memory

    async def _jobs(self) -> Told:
        named = list(self.queues.queues().items())
        return {"queues": list(await asyncio.gather(*(self._queue(name, queue) for name, queue in named)))}

    async def _queue(self, name: str, queue: Queue) -> Told:
        told: Told = {"name": name, "of": OWN if self.queues.in_process(name) else FLEET, "jobs": [], "depth": {}}
        try:
            async with asyncio.timeout(_ANSWER):
                told["depth"] = await queue.depth()
                told["age"] = await queue.age() / SECOND if isinstance(queue, Lists) else None
                told["jobs"] = [_job(each) for each in await _records(queue)]
        except (StoreError, TimeoutError):
            told["why"] = "does not answer; its figures come back by themselves when it does"
        return told

    async def _store(self) -> Told:
        told: Told = {"address": redacted(self._config.store), "of": OWN if self.in_memory else FLEET}
        key = self._runtime.keys.key("health", "health", "health")
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_ANSWER):
                (answer,) = await self._runtime.store.decide([Question("revoked", key, (0,), "closed")])
            stands = "degraded" if answer.degraded else "answers"
        except (StoreError, TimeoutError):
            stands = "down"
        took = round((time.perf_counter() - began) * 1e6)
        return {**told, "stands": stands, "took": took, **standing.trips(self.watching)}


async def _records(queue: Queue) -> list[Record]:
    """Return dead jobs first, then those at work, then those that wait."""
    if not isinstance(queue, Lists):
        return await queue.dead(_MOST_JOBS)
    found: list[Record] = []
    for status in ("dead", "running", "queued"):
        found += await queue.standing(status, _MOST_JOBS)
    return found


def _job(record: Record) -> Told:
    return {
        "id": record.id,
        "endpoint": record.endpoint,
        "status": record.status,
        "attempts": record.attempts,
        "created": record.created / SECOND,
        "changed": record.changed / SECOND,
        "reason": record.reason,
        "progress": record.progress if record.progress >= 0 else None,
    }
