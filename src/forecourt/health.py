"""Health: whether calls may come, found out by asking what the service stands on.

Each check has a name, and all of them one deadline. What fails makes the service degraded, or not ready where the
config calls it fatal: a store that is gone is not, because each policy says what happens then. An outcome is told again
for a moment, so that many who ask cost as much as one. What each check found is told only to callers of a role.
"""

import asyncio
import json
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from forecourt.breakers import Breakers
from forecourt.config_health import Check, HealthApp, TellsHealth, answer
from forecourt.core.health import Finding, Standing, together, written
from forecourt.exchange import STATE, Exchange
from forecourt.runtime import Runtime
from forecourt.stores.contract import Question, Store
from forecourt.types import SECOND


class Health(TellsHealth):
    """Asks for one config in this process."""

    def __init__(self, runtime: Runtime, app: HealthApp) -> None:
        self._policy = runtime.config.health_checks
        self._clock = runtime.clock
        self._checks: dict[str, Check] = {
            "store": partial(_store, runtime.store, runtime.keys.key("health", "health", "health")),
            "breakers": partial(_breakers, runtime.config.breakers),
        }
        self._app = app
        self._asking: asyncio.Task[list[Finding]] | None = None
        self._told: tuple[int, list[Finding]] | None = None

    async def ready(self, request: Request) -> Response:
        """Answer 200 where calls may come, well or degraded, and 503 where not."""
        findings = await self._findings()
        standing = together(findings, self._policy.fatal)
        told: dict[str, object] = {"status": standing}
        if self._may_read(request):
            told = written(standing, findings)
        return answer(503 if standing == "fail" else 200, json.dumps(told).encode())

    def _may_read(self, request: Request) -> bool:
        exchange: Exchange = getattr(request.state, STATE)
        return exchange.principal is not None and self._policy.role in exchange.principal.roles

    async def _findings(self) -> list[Finding]:
        """Return what was found a moment ago, or find out; all who ask meanwhile wait for the same."""
        now = self._clock.now()
        if self._told is not None and 0 <= now - self._told[0] < self._policy.kept():
            return self._told[1]
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> list[Finding]:
        checks = {**self._checks, **self._app.checks}
        findings = await asyncio.gather(*(self._finding(name, check) for name, check in checks.items()))
        self._told = (self._clock.now(), findings)
        return findings

    async def _finding(self, name: str, check: Check) -> Finding:
        begun = self._clock.now()
        standing: Standing
        try:
            async with asyncio.timeout(self._policy.limit() / SECOND):
                said = await check()
        except TimeoutError:
            standing, said = "fail", "does not answer in time"
        except Exception as error:  # noqa: BLE001  # whatever it stands on may fail in any way
            standing, said = "fail", type(error).__name__
        else:
            standing = "warn" if said else "pass"
        return Finding(name, standing, said or "", self._clock.now() - begun)


async def _store(store: Store, key: str) -> str | None:
    """Ask the store about nobody."""
    (told,) = await store.decide([Question("revoked", key, (0,), "closed")])
    return "does not answer: policies decide without it" if told.degraded else None


async def _breakers(breakers: Breakers) -> str | None:
    open_ones = sorted(each.name for each in breakers if each.state != "closed")
    return f"not closed: {', '.join(open_ones)}" if open_ones else None
