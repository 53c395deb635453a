"""What a layer says to ask the store, and the layers of one endpoint that ask together: its chain.

A layer states its questions from the headers, the path and the principal alone; the exchange sends those of the whole
chain at once, gives each layer its answers, and asks it what to settle.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from forecourt.runtime import AtOnce
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import ASGIApp

if TYPE_CHECKING:
    from forecourt.exchange import Exchange


@runtime_checkable
class Asks(Protocol):
    """The store-backed half of a layer."""

    @property
    def settles(self) -> bool:
        """Whether what is granted to this layer has anything to settle."""
        ...

    def questions(self, exchange: "Exchange", /) -> Sequence[Question] | ASGIApp:
        """State this layer's questions, from headers, path and principal alone; or refuse before anything is asked."""
        ...

    def answered(self, exchange: "Exchange", answers: Sequence[Answer], /) -> ASGIApp | None:
        """Leave response fields; return the response where the answers refuse the call or replay an earlier one.

        Not called for answers that did not run. All questions of one layer belong to one group.
        """
        ...

    def settlements(self, exchange: "Exchange", answers: Sequence[Answer], /) -> Iterable[Settlement]:
        """Tell the store what became of what it granted; called exactly once for granted answers."""
        ...


@runtime_checkable
class Waits(Protocol):
    """A layer that asks, and that may wait where its answer refuses."""

    async def wait(
        self, exchange: "Exchange", place: int, again: Callable[[], Awaitable[list[Answer]]]
    ) -> list[Answer] | None:
        """Wait until the answer at `place`, the only one to refuse, may be another, and ask for all `again`.

        None: waiting is of no use. What was granted to the layer meanwhile is its own to undo, unless it was granted
        again. Raises what `again` raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class Chain:
    """The layers of one endpoint, compiled: the app they form, and those of them that ask the store, in order."""

    app: ASGIApp
    askers: tuple[Asks, ...] = ()
    waits: bool = False
    """Whether some of them may wait where their answer refuses (`Waits`)."""
    at_once: AtOnce | None = None
    """What decides for them, where the store is this process and none of them waits."""
    alone: Asks | None = field(init=False)
    """The one that asks, where there is only one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "alone", self.askers[0] if len(self.askers) == 1 else None)
