"""`record_db_latency`: the time of any block of code, beside that of each statement, which is recorded by itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from forecourt.config_databases import Spent, StatementEnd
from forecourt.db.databases import running
from forecourt.db.visits import visiting
from forecourt.policies.database import MAIN
from forecourt.policies.terms import NAMED


@contextmanager
def record_db_latency(name: str, database: str = MAIN) -> Iterator[None]:
    """Record how long a block takes, as the operation of this name.

    A metric by endpoint and operation, and a span. The name is a word of the code, never of a request: 1 to 64 letters,
    digits, `_`, `.`, `:` or `-`; ValueError otherwise. ForecourtError where no app with such a database runs.
    """
    if not NAMED.fullmatch(name):
        raise ValueError(f"record_db_latency({name!r}): must be 1 to 64 letters, digits, _, ., : or -")
    visit = visiting.get()
    databases = visit.databases if visit is not None else running(database)
    statements = databases.runtime.config.statements
    began, ticks = time.time_ns(), time.perf_counter_ns()
    end: StatementEnd = "failed"
    try:
        yield
        end = "ok"
    finally:
        took = time.perf_counter_ns() - ticks
        statements.tell(Spent(visit.endpoint if visit else "", database, name, end, began, took))
