"""The databases of one config in this process: engines that connect when first used, and sessions of them.

They are open from the start of the app to its end; whoever asks for one where no app of the config runs is told so.
"""

import logging
import weakref
from collections.abc import Iterable, Iterator
from functools import partial

from forecourt.caching.caching import Caching
from forecourt.config_databases import needed_connections
from forecourt.db.alchemy import DBAPIError, PoolTimeout
from forecourt.db.engines import opened
from forecourt.db.idempotency import needed
from forecourt.db.needed import NeededTable
from forecourt.db.opened import OpenedSession, all_closed
from forecourt.db.replicas import Replicas
from forecourt.errors import ConfigError, ForecourtError
from forecourt.exchange import Exchange
from forecourt.policies.database import MAIN, Database
from forecourt.policies.idempotency import Idempotency
from forecourt.policies.wording import nearest
from forecourt.runtime import Runtime

logger = logging.getLogger("forecourt")


class OpenedDatabase:
    """One database: its primary, and its replica where it has one."""

    def __init__(self, name: str, policy: Database, pool: int, runtime: Runtime) -> None:
        self.policy = policy
        breaker = runtime.config.breakers.of(policy.breaker, name) if policy.breaker else None
        engine = partial(
            opened, name, policy=policy, pool=pool, clock=runtime.clock, statements=runtime.config.statements
        )
        self.primary = engine(policy.url, breaker=breaker)
        replica = engine(policy.replica, breaker=None) if policy.replica else None
        self.replicas = Replicas(name, policy, replica, runtime)

    async def close(self) -> None:
        """Give up all connections."""
        await self.primary.dispose()
        if self.replicas.engine is not None:
            await self.replicas.engine.dispose()


class Databases:
    """All databases of one config in this process."""

    def __init__(self, runtime: Runtime, caching: Caching) -> None:
        config = runtime.config
        self.runtime = runtime
        self.caching = caching
        usual = needed_connections([config.default, *config.endpoints.values()])
        self._opened = {
            name: OpenedDatabase(name, policy, policy.pool or usual, runtime)
            for name, policy in config.databases.items()
        }
        runtime.closing.append(self.close)

    def __repr__(self) -> str:
        return f"<Databases {', '.join(self._opened)}>"

    def __contains__(self, name: str) -> bool:
        return name in self._opened

    def database(self, name: str) -> OpenedDatabase:
        """Return the database of this name; ConfigError when there is none."""
        found = self._opened.get(name)
        if found is None:
            hint = nearest(name, self._opened) or f"; there are {', '.join(sorted(self._opened)) or 'none'}"
            raise ConfigError(f'databases: there is no database named "{name}"{hint}')
        return found

    def session(self, name: str = MAIN) -> OpenedSession:
        """Return a session of the primary; whoever asks for it commits and closes it."""
        return OpenedSession(name, self.database(name).primary, self, replica=False)

    async def reading(self, name: str, exchange: Exchange) -> OpenedSession:
        """Return a session that only reads: of the replica, where this caller may read that."""
        database = self.database(name)
        replica = database.replicas.engine
        if replica is not None and await database.replicas.serves(exchange):
            return OpenedSession(name, replica, self, replica=True)
        return self.session(name)

    async def evict(self, tags: Iterable[str]) -> None:
        """Make what is kept of these rows invalid."""
        await self.caching.invalidate(tags)

    async def check(self) -> None:
        """See that the databases have what the policies need of them; ConfigError where they do not.

        One that does not answer now is not known to lack anything: that is logged, and the service starts.
        """
        for table in self._needed():
            try:
                there = await table.is_there(self.database(table.database).primary)
            except (ForecourtError, DBAPIError, PoolTimeout) as error:
                logger.warning("the database %r was not looked at: %s", table.database, type(error).__name__)
                continue
            if not there:
                raise ConfigError(str(table))

    def _needed(self) -> Iterator[NeededTable]:
        config = self.runtime.config
        said = [policy.idempotency for policy in (config.default, *config.endpoints.values()) if policy is not None]
        names = {each.database for each in said if isinstance(each, Idempotency)}
        yield from (needed(name) for name in sorted(name for name in names if name is not None))
        audited = getattr(config.audit_log, "needed", None)
        if isinstance(audited, NeededTable):
            yield audited

    def open(self) -> None:
        """Be found by code that runs for no call."""
        if self not in _running:
            _running.append(self)

    async def close(self) -> None:
        """Give up all connections."""
        if self in _running:
            _running.remove(self)
        await all_closed()
        for database in self._opened.values():
            await database.close()


_running: list[Databases] = []
_made: weakref.WeakKeyDictionary[Runtime, Databases] = weakref.WeakKeyDictionary()


def databases_of(runtime: Runtime, caching: Caching) -> Databases:
    """Return the databases that all stacks of one config share."""
    databases = _made.get(runtime)
    if databases is None:
        databases = _made[runtime] = Databases(runtime, caching)
    return databases


def running(name: str) -> Databases:
    """Return the databases of this process that have one of this name; ForecourtError for none or several."""
    found = [databases for databases in _running if name in databases]
    if len(found) != 1:
        why = "no app with such a database has started" if not found else "several apps have one of this name"
        raise ForecourtError(f"the database {name!r} cannot be used here: {why}")
    return found[0]
