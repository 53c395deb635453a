"""A real `pybreaker.CircuitBreaker` beside one of ours: for its listeners, for operators, for synchronous code.

Ours decides; what it learns is told to the mirror, call by call (`call` with a function that succeeds or raises what
was raised) and transition by transition, so that listeners hear what they always heard. What the mirror does by itself
is heard by ours: an operator's `open()` and `close()`, and failures of synchronous code that shares it.

pybreaker holds a lock while synchronous code is inside `call()`, which may take long. So the mirror is told by one
thread of its own, in order, and the event loop never waits for that lock. This is the only module that needs pybreaker.
"""

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pybreaker

from forecourt.core.breaker import Closed, Ended, Open, State
from forecourt.policies.quantities import exact

if TYPE_CHECKING:
    from forecourt.breakers import Breaker

PyBreaker = pybreaker.CircuitBreaker
Step = Callable[[], object]


class FailedCall(Exception):
    """A call whose answer said that it failed: there was no exception to tell."""


def mirror(breaker: "Breaker") -> PyBreaker:
    """Return a new mirror of a breaker, which is kept in step from now on."""
    return _Mirror(breaker).theirs


class _Mirror:
    """Keeps two breakers in step; `_telling` is set in the one thread that tells ours to theirs."""

    def __init__(self, breaker: "Breaker") -> None:
        self._ours = breaker
        self._telling = threading.local()
        self._steps: queue.SimpleQueue[Step] = queue.SimpleQueue()
        fail_max = breaker.policy.fail_max
        self.theirs: PyBreaker = pybreaker.CircuitBreaker(
            fail_max=2**31 if fail_max == "off" else fail_max,
            reset_timeout=float(exact(breaker.policy.reset_timeout)),
            success_threshold=breaker.policy.success_threshold,
            name=breaker.name,
            throw_new_error_on_trip=False,
        )
        self.theirs.add_listener(_Hears(self))
        threading.Thread(target=self._tell, name=f"mirror of breaker {breaker.name}", daemon=True).start()
        if breaker.state == "open":
            self._steps.put(self.theirs.open)
        breaker.listeners.append(self._moved)
        breaker.reports = self._ended

    def heard(self, state: str) -> None:
        """Follow a transition that was not ours."""
        if getattr(self._telling, "now", False) or state == self._ours.state:
            return
        if state == pybreaker.STATE_OPEN:
            self._ours.open()
        elif state == pybreaker.STATE_CLOSED:
            self._ours.close()

    def _moved(self, _breaker: "Breaker", _before: State, state: State) -> None:
        if isinstance(state, Open):
            self._steps.put(self._opened)
        elif isinstance(state, Closed):
            self._steps.put(self._closed)
        else:
            self._steps.put(self.theirs.half_open)

    def _ended(self, ended: Ended, error: BaseException | None) -> None:
        self._steps.put(lambda: self._replay(ended, error))

    def _opened(self) -> None:
        if self.theirs.current_state != pybreaker.STATE_OPEN:
            self.theirs.open()

    def _closed(self) -> None:
        if self.theirs.current_state != pybreaker.STATE_CLOSED:
            self.theirs.close()

    def _replay(self, ended: Ended, error: BaseException | None) -> None:
        def call() -> None:
            if ended == "failure":
                raise error or FailedCall("the answer said that the call failed")

        self.theirs.call(call)

    def _tell(self) -> None:
        self._telling.now = True
        while True:
            step = self._steps.get()
            try:
                step()
            except Exception:  # noqa: BLE001, S112 - what was replayed is raised again, and listeners may raise
                continue


class _Hears(pybreaker.CircuitBreakerListener):
    """Hears what the mirror does."""

    def __init__(self, mirror: _Mirror) -> None:
        self._mirror = mirror

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        """Hear of a transition, while pybreaker holds its lock."""
        self._mirror.heard(new_state.name)
