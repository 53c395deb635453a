"""Everything forecourt raises.

    ForecourtError
    ├── CircuitOpen            a breaker used in code is open: the call was not made
    ├── DatabaseDown           a database cannot be reached; callers get 503
    ├── ConfigError            the config cannot mean what it says; raised at startup, names endpoint, field, fix
    └── StoreError             the store did not decide
        ├── StoreDown          unreachable, refused, timed out, or answered with an error: the failure policy answers
        └── StoreOverloaded    our own queue is full or late: 503, never mistaken for a dead store

A refusal (401, 429, …) is a response and is never raised.
"""


class ForecourtError(Exception):
    """The root of the tree above."""


class CircuitOpen(ForecourtError):
    """The call was not made, as what it needs has failed; `retry_after` in whole seconds, at least 1.

    Where a handler lets it pass, its caller gets 503 with Retry-After.
    """

    def __init__(self, name: str, retry_after: int) -> None:
        self.name = name
        self.retry_after = retry_after
        super().__init__(f"the breaker {name!r} is open; try again in {retry_after} s")


class ConfigError(ForecourtError):
    """A config that cannot work; the text says where, what, and the nearest right thing."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class DatabaseDown(ForecourtError):
    """A database cannot be reached; where a handler lets it pass, its caller gets 503.

    It names the database and the kind of failure, never an address.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        super().__init__(f"the database {name!r} cannot be reached: {kind}")


class StoreError(ForecourtError):
    """The store did not decide; nothing may be assumed granted."""


class StoreDown(StoreError):
    """The store is unreachable, late, or answers with errors; the failure policy of each question answers."""


class StoreOverloaded(StoreError):
    """Too much waits for the store in this process; callers get 503, and no failure policy opens a gate."""
