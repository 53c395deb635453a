"""What a layer may rely on when it asks the store, and what happens when the store cannot answer.

A *question* is asked before the handler, an *answer* comes back, a *settlement* is told afterwards.
`Store.decide` takes all questions of one exchange at once and decides them by the groups of
`core.operations`; `Store.settle` takes all settlements of one exchange at once.

Promises of every store:

- A group is decided whole: either everything it grants is granted, or nothing of it is.
- Groups after a refusal or a replay do not run; their answers say `granted=False`.
- An answer that never reached its caller (cancelled, timed out, connection lost) grants no lease, hold or
  claim for longer than that grant's own lease; limits may have counted one too many, never one too few.
- `StoreDown` means: nothing is known, assume nothing granted. `StoreOverloaded` means: not asked at all.
- Settlements are idempotent where their operation says so, so that one may be repeated after a lost reply.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from forecourt.core.operations import Arg, Value, Verdict
from forecourt.types import Clock

OnError = Literal["local", "open", "closed", "miss"]
"""What answers instead of a dead store: this process alone, go, refuse with 503, or 'not known'."""


class Question(NamedTuple):
    """One thing to decide: an operation's kind, its key, its arguments, and what if the store is down.

    Keys of one kind are distinct within one call of `decide`. `local_args` are the arguments for "local", where this
    process's share is not the whole.
    """

    kind: str
    key: str
    args: tuple[Arg, ...]
    on_error: OnError = "local"
    local_args: tuple[Arg, ...] | None = None


class Answer(NamedTuple):
    """What was decided; `values` are those of the operation, empty when it did not run.

    `granted` is True when the store now holds something for this caller: its whole group went.
    `degraded` is True when the store could not answer and the failure policy did.
    """

    verdict: Verdict
    values: tuple[Value, ...] = ()
    granted: bool = False
    degraded: bool = False


class Settlement(NamedTuple):
    """One thing to tell the store after the handler: an operation of the group `settle`.

    `durable`: the store must know before the last byte of the response leaves. `local`: the failure policy granted it
    in this process, so it is settled there.
    """

    kind: str
    key: str
    args: tuple[Arg, ...]
    durable: bool = False
    local: bool = False


class StoreSite(NamedTuple):
    """What a store that an installed package brings is made for: its address in the config, and the clock."""

    address: str
    clock: Clock


@runtime_checkable
class Store(Protocol):
    """Where decisions are made and state is kept; see the promises above."""

    async def open(self) -> None:
        """Connect and prepare; called by the stack at start, again after a close, on the loop that asks."""
        ...

    async def close(self) -> None:
        """Finish the settlements under way, then let go of every connection and task."""
        ...

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each question, in order; raises StoreDown or StoreOverloaded."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell the store what became of what it granted; raises StoreDown or StoreOverloaded."""
        ...
