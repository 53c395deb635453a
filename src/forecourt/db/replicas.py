"""May a caller read from the replica? Only from one that is fresh, and not shortly after a write of their own.

The replica's lag is asked for once a second, by whoever comes then; in between its last answer holds. A replica that
does not answer is not read. Callers who wrote are remembered in the store, for all processes: where there is a replica,
a call that could read it costs a trip. A store that does not answer means the primary.
"""

import logging

from forecourt.core.revocation import ALWAYS
from forecourt.db.alchemy import AsyncEngine, DBAPIError, PoolTimeout, text
from forecourt.errors import CircuitOpen, DatabaseDown, StoreError
from forecourt.exchange import Exchange
from forecourt.policies.database import Database
from forecourt.policies.quantities import exact, microseconds
from forecourt.runtime import Runtime
from forecourt.stores.contract import Question, Settlement
from forecourt.types import SECOND

logger = logging.getLogger("forecourt")

_EVERY = SECOND
_LAG = """
SELECT CASE
  WHEN NOT pg_is_in_recovery() THEN 0
  WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
    AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') THEN 0
  ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 1e9)
END
"""
"""Seconds that a standby is behind: none while all that came is replayed and more would come."""


class Replicas:
    """The replica of one database, and who must not read it."""

    def __init__(self, name: str, policy: Database, engine: AsyncEngine | None, runtime: Runtime) -> None:
        self.engine = engine
        self._name = name
        self._runtime = runtime
        self._most = exact(policy.max_lag)
        self._sticky = microseconds(policy.sticky)
        own = None if policy.replica is None or policy.replica.startswith("sqlite") else _LAG
        query = policy.lag_query or own
        self._query = text(query) if query else None
        self._asked = -_EVERY
        self._fresh = self._query is None

    async def serves(self, exchange: Exchange) -> bool:
        """Return whether this caller may read from the replica now."""
        return self.engine is not None and await self._is_fresh() and not await self._has_written(exchange)

    async def mark(self, exchange: Exchange) -> None:
        """Note that this caller has written; a store that does not answer is let be, as reads then find it out."""
        if self.engine is None or not self._sticky:
            return
        told = Settlement("revoke", self._key(exchange), (ALWAYS - 1, self._sticky), durable=True)
        await self._runtime.settled([told])

    async def _has_written(self, exchange: Exchange) -> bool:
        if not self._sticky:
            return False
        question = Question("revoked", self._key(exchange), (ALWAYS,), "closed")
        try:
            (answer,) = await self._runtime.store.decide([question])
        except StoreError:
            return True
        return answer.degraded or not answer.values or bool(answer.values[0])

    def _key(self, exchange: Exchange) -> str:
        principal = exchange.principal
        own = ("client", exchange.client) if principal is None else ("principal", principal.issuer, principal.subject)
        return self._runtime.keys.key("wrote", self._name, *own)

    async def _is_fresh(self) -> bool:
        now = self._runtime.clock.now()
        if self._query is None or now - self._asked < _EVERY:
            return self._fresh
        self._asked = now
        was, self._fresh = self._fresh, False
        self._fresh = await self._lag() <= self._most
        if was != self._fresh:
            logger.info("the replica of %r is %s", self._name, "read" if self._fresh else "not read: too far behind")
        return self._fresh

    async def _lag(self) -> float:
        assert self.engine is not None
        assert self._query is not None
        try:
            async with self.engine.connect() as connection:
                return float((await connection.execute(self._query)).scalar_one())
        except (DBAPIError, PoolTimeout, DatabaseDown, CircuitOpen, OSError, TypeError) as error:
            logger.warning("the replica of %r does not say how far behind it is: %s", self._name, type(error).__name__)
            return float("inf")
