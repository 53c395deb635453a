"""A database that handlers use by name: where it is, and how it is kept from making things worse."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from forecourt.policies.circuit_breaker import CircuitBreaker, CircuitBreakerField
from forecourt.policies.quantities import Count, Delay, Duration
from forecourt.policies.retry import Retry, RetryField
from forecourt.policies.wording import Words, fault, nearest, refusal, refused, said

SCHEMES = ("sqlite+aiosqlite", "postgresql+asyncpg")
"""How a database's address may begin: the dialects that do not block the loop."""

MAIN = "main"
"""The database that is meant where none is named."""

_EXAMPLE = "is not an address such as postgresql+asyncpg://host/name or sqlite+aiosqlite:///file.sqlite3"
_SCHEME = re.compile(r"[A-Za-z0-9+_.-]{1,32}")
_SECRET_OPTIONS = ("password", "sslkey", "passfile")


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise refused(value, "must be an address such as postgresql+asyncpg://host/name")
    scheme, separator, _ = value.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise said(_EXAMPLE)
    if scheme not in SCHEMES:
        guess = nearest(scheme, SCHEMES) or f"; known are {', '.join(SCHEMES)}"
        raise said(f'"{scheme}://…" is not allowed: its scheme is unknown{guess}')
    if scheme.startswith("sqlite") and (not value.partition(":///")[2] or ":memory:" in value):
        raise said("is not allowed: it must name a file, as each connection would have a memory of its own")
    return str(value)


Address = Annotated[str, PlainValidator(_address, json_schema_input_type=str)]
"""An address that no message shows."""


class Database(Words):
    """A database that code uses by `forecourt.db.session`.

    `url`, `replica`: SQLAlchemy addresses. `max_lag`: seconds that the replica may be behind and still be read;
    `lag_query`: a statement that gives them, where the database cannot say itself. `sticky`: seconds for which a caller
    who wrote reads from the primary. `pool`: connections of one process (default: the largest `concurrency` that an
    endpoint has with `key="endpoint"`, else 10); `pool_timeout`: the longest wait for one. `connect_timeout` and
    `timeout`: the longest that connecting and a statement may take, in seconds; never past the call's deadline.
    `isolation`: of its transactions, if not the database's own. `circuit_breaker`, `retry`: of connecting alone.
    `slow`: statements that take longer are logged. `queries`: a call that makes more is logged.
    """

    url: Address
    replica: Address | None = None
    max_lag: Delay = 1
    lag_query: str | None = None
    sticky: Delay = 5
    pool: Count | None = None
    pool_timeout: Duration = 1
    connect_timeout: Duration = 2
    timeout: Duration = 30
    isolation: Literal["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] | None = None
    circuit_breaker: CircuitBreakerField = None
    retry: RetryField = Field(default_factory=lambda: Retry(max_attempts=2, backoff=0.05, max_backoff=0.5))
    slow: Duration = 0.5
    queries: Count = 30

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Show the fields, but no address: it may carry a password."""
        shown = super().__repr_args__()
        return ((name, "***" if name in ("url", "replica") and value else value) for name, value in shown)

    @property
    def breaker(self) -> CircuitBreaker | None:
        """The breaker; None when off."""
        return self.circuit_breaker if isinstance(self.circuit_breaker, CircuitBreaker) else None

    @property
    def retrying(self) -> Retry | None:
        """When connecting is tried again; None when off."""
        return self.retry if isinstance(self.retry, Retry) else None

    @model_validator(mode="after")
    def _possible(self) -> "Database":
        wrong = []
        if self.replica is None and self.lag_query is not None:
            wrong.append(fault("lag_query", self.lag_query, "must stand beside a `replica`, whose lag it tells"))
        if self.isolation == "READ COMMITTED" and self.url.startswith("sqlite"):
            wrong.append(fault("isolation", self.isolation, 'must be "SERIALIZABLE" or nothing: SQLite has no other'))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self


def _one(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


DatabaseField = Annotated[Database, BeforeValidator(_one)]
"""A database, or its address alone."""

DatabaseTable = Mapping[str, DatabaseField]
"""Databases by name."""
