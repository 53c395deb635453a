"""`cached`: rows of a query that are kept, in the same store as answers are, and evicted when a row changes.

    rows = await cached(session, select(Record).where(Record.id == 7), ttl=300, tags={"records:7"})

Without tags it has those of the tables that it reads. The key is the statement as it is compiled, with placeholders,
and the values apart from it, each with its type: no value can pretend to be part of a statement.

**A fill never outlives a commit.** Its stamps are read before its rows. A commit evicts after it is visible; rows read
before carry stamps that the eviction has replaced. Three things would break this, and are kept out: a transaction that
has changed something itself reads past the cache; so does one whose snapshot may be older than the stamps (begun
already, under REPEATABLE READ or SERIALIZABLE); and what a replica says may be older than what was evicted, so that
rows are made from the primary.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from forecourt.caching.values import get_or_set
from forecourt.core.caching.keys import digest, with_wildcards
from forecourt.db.alchemy import (
    AsyncSession,
    CacheKey,
    CompoundSelect,
    Dialect,
    Select,
    SQLCompiler,
    Table,
    find_tables,
)
from forecourt.db.opened import OpenedSession, given_back
from forecourt.db.rows import packed, unpacked, written
from forecourt.errors import ForecourtError

Rows = tuple[tuple[object, ...], ...]
"""Named tuples: `row.title`, `row[1]`."""

Query: TypeAlias = "Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]"
"""What can be cached: a statement that only reads, of whatever columns (their types are invariant)."""

_MOST_COMPILED = 1000

_compiled: dict[object, tuple[SQLCompiler, frozenset[str]]] = {}
"""By dialect and SQLAlchemy's own cache key: the statement with placeholders, and the tables that it reads."""


async def cached(
    session: AsyncSession,
    statement: Query,
    *,
    ttl: float,
    tags: str | Collection[str] | None = None,
) -> Rows:
    """Return the rows of a query, kept for `ttl` seconds: named tuples of plain, immutable values.

    An entity gives its columns. Calls at the same time, in this process and others, wait for one of them. `tags`
    (default: the tables that are read) are evicted by commits that change such rows. TypeError for values that are not
    plain; ForecourtError for a session that is not of `forecourt.db`.
    """
    if not isinstance(session, OpenedSession):
        raise ForecourtError("cached() needs a session of forecourt.db.session, whose commits evict")
    key, tables = _key_of(session, statement)
    if session.changing.changed or _has_old_snapshot(session):
        return unpacked(await _rows(session, statement))
    chosen = tables if tags is None else {tags} if isinstance(tags, str) else set(tags)
    kept = await get_or_set(
        session.databases.caching, key, lambda: _made(session, statement), ttl, with_wildcards(chosen)
    )
    return unpacked(kept)


def _has_old_snapshot(session: OpenedSession) -> bool:
    """Return whether what the session reads may be older than stamps that are read now."""
    if not session.in_transaction():
        return False
    own = session.databases.database(session.name).policy.isolation
    connection = session.changing.connection() if session.changing.in_transaction() else None
    said = connection.get_execution_options().get("isolation_level") if connection is not None else None
    return str(said or own or "") in ("REPEATABLE READ", "SERIALIZABLE")


async def _made(session: OpenedSession, statement: Query) -> bytes:
    if not session.replica:
        return await _rows(session, statement)
    primary = session.databases.session(session.name)
    try:
        return await _rows(primary, statement)
    finally:
        await given_back([primary])


async def _rows(session: OpenedSession, statement: Query) -> bytes:
    await session.flush()
    result = await (await session.connection()).execute(statement)
    return packed(tuple(result.keys()), [tuple(row) for row in result])


_keys: WeakKeyDictionary[Query, dict[tuple[str, str], tuple[str, frozenset[str]]]] = WeakKeyDictionary()
"""What `_key_of` made of statements that are used again as they are, by database and dialect."""


def _key_of(session: OpenedSession, statement: Query) -> tuple[str, frozenset[str]]:
    """Return the key of a statement with its values, and the tables that it reads.

    It is remembered for the statement itself, unless that has values which are asked for each time.
    """
    dialect = session.changing.get_bind().dialect
    place = session.name, dialect.name
    before = _keys.get(statement)
    if before is not None and place in before:
        return before[place]
    known = statement._generate_cache_key()
    made = _made_key(session.name, dialect, statement, known)
    if known is not None and all(each.callable is None for each in known.bindparams):
        _keys.setdefault(statement, {})[place] = made
    return made


def _made_key(name: str, dialect: Dialect, statement: Query, known: CacheKey | None) -> tuple[str, frozenset[str]]:
    if known is None:
        compiled, tables = _compile(statement, dialect, None)
        values: Mapping[str, object] = compiled.construct_params()
    else:
        place = dialect.name, known.key
        found = _compiled.get(place)
        if found is None:
            if len(_compiled) >= _MOST_COMPILED:
                _compiled.clear()
            found = _compiled[place] = _compile(statement, dialect, known)
        compiled, tables = found
        values = compiled.construct_params(extracted_parameters=known.bindparams)
    said = json.dumps([[name, written(value)] for name, value in sorted(values.items())], separators=(",", ":"))
    return "db:" + digest((name, str(compiled), said)), tables


def _compile(statement: Query, dialect: Dialect, known: CacheKey | None) -> tuple[SQLCompiler, frozenset[str]]:
    compiled = statement.compile(dialect=dialect, cache_key=known)
    assert isinstance(compiled, SQLCompiler)
    found = find_tables(statement, include_joins=True, include_selects=True, include_aliases=True, check_columns=True)
    return compiled, frozenset(table.fullname for table in found if isinstance(table, Table))
