"""What becomes of a job, whatever happens to it: the table of states by itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecourt.core import jobs
from forecourt.core.jobs import Cancelled, Dead, Done, Failed, Leased, Progress, Queued, State, Terms
from forecourt.types import SECOND
from tests.core.bench import examples

LEASE = 10 * SECOND
TERMS = Terms(max_attempts=3, deadline=1000 * SECOND)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "renew", "done", "fail", "give back", "cancel", "sweep", "redrive", "wait"]),
        st.integers(0, 4),
    ),
    max_size=60,
)


class Life:
    """One job, and an oracle that only counts: claims since the last redrive, and results."""

    def __init__(self) -> None:
        self.state: State = Queued(0, 0)
        self.now = 0
        self.tokens: list[str] = []
        self.results = self.counted = 0

    def token(self, back: int) -> str:
        """Return one of the last tokens given out."""
        return self.tokens[-1 - back] if back < len(self.tokens) else "never given"

    def next(self, event: str, number: int) -> State | None:
        """Return the state that an event leads to; None where it is not allowed."""
        token = self.token(number)
        match event:
            case "claim":
                return jobs.claimed(self.state, TERMS, self.now, LEASE, f"t{len(self.tokens)}")
            case "renew":
                return jobs.renewed(self.state, token, self.now + LEASE)
            case "done":
                return jobs.done(self.state, token)
            case "fail":
                return jobs.failed(self.state, TERMS, token, self.now, "why")
            case "give back":
                return jobs.given_back(self.state, token, self.now)
            case "cancel":
                return jobs.cancelled(self.state)
            case "sweep":
                return jobs.swept(self.state, TERMS, self.now)
            case _:
                return jobs.redriven(self.state, self.now)

    def live(self, event: str, number: int) -> None:
        """Let an event happen, and check what must hold."""
        if event == "wait":
            self.now += [1, SECOND // 2, LEASE, 50 * SECOND, 400 * SECOND][number]
            return
        before, after = self.state, self.next(event, number)
        if after is None:
            return
        assert not isinstance(before, Done | Failed | Cancelled), "what has ended stays as it is"
        assert isinstance(before, Dead) == (event == "redrive"), "the dead change by redriving alone"
        if event in ("renew", "done", "fail", "give back"):
            assert isinstance(before, Leased)
            assert self.token(number) == before.token == self.tokens[-1], "only the last claim's token counts"
        if isinstance(after, Leased) and event == "claim":
            assert isinstance(before, Queued)
            assert before.due <= self.now < TERMS.deadline
            self.tokens.append(after.token)
        self.counted += (event == "claim" and isinstance(after, Leased)) - (event == "give back")
        self.counted *= event != "redrive"
        self.results += event == "done"
        assert after.attempts == self.counted <= TERMS.max_attempts
        assert isinstance(after, Dead) <= (self.counted == TERMS.max_attempts)
        self.state = after


@settings(max_examples=examples(300), deadline=None)
@given(events=EVENTS)
def test_whatever_happens_a_job_has_one_result(events: list[tuple[str, int]]) -> None:
    """At most one result, never more attempts than allowed, and no late worker changes anything."""
    life = Life()
    for event, number in events:
        life.live(event, number)
    assert life.results <= 1


def test_every_state_has_a_name() -> None:
    """The names that callers see."""
    states: list[State] = [Queued(0, 0), Leased(1, "t", 1), Done(1), Failed(1, ""), Dead(1, ""), Cancelled(1)]
    names = ["queued", "running", "succeeded", "failed", "dead", "cancelled"]
    assert [jobs.status_of(state) for state in states] == names


def test_attempts_are_farther_and_farther_apart() -> None:
    """Half a second, doubled each time, five minutes at most."""
    assert [jobs.backoff(attempts) / SECOND for attempts in (1, 2, 3, 10, 11, 1000)] == [0.5, 1, 2, 256, 300, 300]


@pytest.mark.parametrize("done", [-0.1, 1.1, float("nan")])
def test_progress_is_from_0_to_1(done: float) -> None:
    """Other numbers are the handler's mistake; a word is cut to 200 characters."""
    with pytest.raises(ValueError, match="must be a number from 0 to 1"):
        Progress.of(done, "")
    assert len(Progress.of(1, "x" * 300).note) == 200
