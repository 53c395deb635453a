"""Databases in a config: their names, and who is told of what is asked of them.

What opens them is `forecourt.db`, which needs SQLAlchemy; without databases it is never imported.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Literal, NamedTuple
from weakref import WeakMethod

from pydantic import AfterValidator

from forecourt.policies.concurrency import Concurrency
from forecourt.policies.database import DatabaseTable
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.terms import NAMED
from forecourt.policies.wording import Fault, not_allowed, refusal

StatementEnd = Literal["ok", "failed"]

USUAL_POOL = 10


class Spent(NamedTuple):
    """Time spent on a database: by which endpoint (empty: by none), on what, begun when (ns since the epoch), how long.

    `operation` is `select`, `insert`, `update`, `delete`, `other`, or the name of a block; `text` the statement with
    placeholders for its values, empty for a block.
    """

    endpoint: str
    database: str
    operation: str
    end: StatementEnd
    began: int
    took: int
    text: str = ""


class Statements:
    """Who is told of the time that a config's databases take, in the task of the call."""

    def __init__(self) -> None:
        self.listeners: dict[str, WeakMethod[Callable[[Spent], object]]] = {}
        """By the observer's name: one of each. An observer leads to its app, which no config may keep alive."""

    def __repr__(self) -> str:
        return f"<Statements told to {', '.join(self.listeners) or 'nobody'}>"

    def listen(self, observer: str, method: Callable[[Spent], object]) -> None:
        """Tell this method of an observer's, as long as that is there."""
        self.listeners[observer] = WeakMethod(method)

    def tell(self, spent: Spent) -> None:
        """Tell all of them."""
        for listener in self.listeners.values():
            method = listener()
            if method is not None:
                method(spent)


def _named(table: DatabaseTable) -> DatabaseTable:
    reason = "must be 1 to 64 letters, digits, _, ., : or -"
    if wrong := [Fault((name,), name, not_allowed(name, reason)) for name in table if not NAMED.fullmatch(name)]:
        raise refusal("databases", wrong)
    return dict(table)


Databases = Annotated[DatabaseTable, AfterValidator(_named)]
"""The field `databases`."""


def needed_connections(policies: Iterable[EndpointPolicy | None]) -> int:
    """Return how many connections the endpoints can use at once: the largest of their limits, else the usual."""
    said = [policy.concurrency for policy in policies if policy is not None]
    limits = [each.limit for each in said if isinstance(each, Concurrency) and each.key == "endpoint"]
    return max(limits, default=USUAL_POOL)
