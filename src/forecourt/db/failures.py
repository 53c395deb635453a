"""What a database's error means to a caller: a problem of its own, or None where it is the handler's fault.

| what happened | status | type |
|---|---|---|
| unique, exclusion or foreign key violated | 409 | `conflict` |
| deadlock, serialisation failure, locked | 503 | `database-busy`: another attempt may succeed |
| a statement took too long | 504 | `database-late` |
| unreachable, shut down, broken off | 503 | `database-unavailable` |
| no connection free in time | 503 | temporary-reduced-capacity |

No problem says anything of the statement, its values, or the database's own words.
"""

from forecourt.db.alchemy import DBAPIError, PoolTimeout
from forecourt.errors import DatabaseDown
from forecourt.responses import OVERLOADED, TYPES, Problem

CONFLICT = Problem(
    409, "Conflict", TYPES + "conflict", "This contradicts what is stored already, or depends on it; nothing was done."
)
BUSY = Problem(
    503, "Service Unavailable", TYPES + "database-busy", "Others were changing the same at this time; nothing was done."
)
LATE = Problem(504, "Gateway Timeout", TYPES + "database-late", "The database that this endpoint needs is too slow.")
DOWN = Problem(
    503,
    "Service Unavailable",
    TYPES + "database-unavailable",
    "The database that this endpoint needs does not answer.",
)

_CONFLICTS = frozenset({"23505", "23P01", "23503", "23001"})
_BUSY = frozenset({"40001", "40P01", "55P03"})
_LATE = frozenset({"57014", "25P03", "57P05"})
_DOWN = frozenset({"57P01", "57P02", "57P03", "53300"})

_SQLITE_CONFLICTS = frozenset(
    {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_FOREIGNKEY"}
)
_SQLITE_CONFLICTS |= {"SQLITE_CONSTRAINT_ROWID", "SQLITE_CONSTRAINT_TRIGGER"}
_SQLITE_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_SQLITE_DOWN = ("SQLITE_CANTOPEN", "SQLITE_IOERR")


def problem_of(error: BaseException) -> Problem | None:
    """Return the problem that this error is to its caller; None where it is none of the database's."""
    if isinstance(error, PoolTimeout):
        return OVERLOADED
    if isinstance(error, DatabaseDown):
        return DOWN
    if not isinstance(error, DBAPIError):
        return None
    if error.connection_invalidated:
        return DOWN
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return _by_state(str(state)) if state else _by_name(str(getattr(error.orig, "sqlite_errorname", "")))


def _by_state(state: str) -> Problem | None:
    if state in _CONFLICTS:
        return CONFLICT
    if state in _BUSY:
        return BUSY
    if state in _LATE:
        return LATE
    return DOWN if state in _DOWN or state.startswith("08") else None


def _by_name(name: str) -> Problem | None:
    if name in _SQLITE_CONFLICTS:
        return CONFLICT
    if name.startswith(_SQLITE_BUSY):
        return BUSY
    return DOWN if name.startswith(_SQLITE_DOWN) else None
