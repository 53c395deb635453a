"""Breakers by name, as code uses them; and what pybreaker gets wrong with asyncio, case by case, right here."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pybreaker
import pytest

from forecourt import Breaker, CircuitBreaker, CircuitOpen, ConfigError, EndpointPolicy, JobConfig
from forecourt.testing import FakeClock
from tests.callers import settle_down


def named(**policy: object) -> tuple[Breaker, FakeClock]:
    """Build a breaker "payments" on a clock that stands still."""
    breaker = CircuitBreaker(name="payments", **{"jitter": 0, **policy})  # type: ignore[arg-type]  # its own words
    config = JobConfig(endpoints={"pay": EndpointPolicy(circuit_breaker=breaker)})
    clock = FakeClock()
    config.breakers.bind(clock)
    return config.breaker("payments"), clock


def stands(breaker: Breaker) -> str:
    """Return where a breaker stands now."""
    return breaker.state


async def failing(breaker: Breaker) -> None:
    """Fail inside, once."""
    async with breaker:
        await asyncio.sleep(0)
        raise RuntimeError("it failed")


async def fail(breaker: Breaker, times: int = 1) -> None:
    """Fail inside."""
    for _ in range(times):
        with pytest.raises(RuntimeError):
            await failing(breaker)


async def inside(breaker: Breaker, go_on: asyncio.Event) -> str:
    """Be inside until told to go on."""
    async with breaker:
        await go_on.wait()
    return "done"


async def test_a_coroutine_counts_when_it_has_ended() -> None:
    """Finding 1: ten failures out of ten are ten failures, not ten coroutines made."""
    breaker, _ = named(fail_max=10)
    await fail(breaker, 9)
    assert stands(breaker) == "closed"
    await fail(breaker)
    assert stands(breaker) == "open"


async def test_it_needs_nothing_but_asyncio() -> None:
    """Finding 2: cancelling a call cancels what is inside, at once."""
    breaker, _ = named()
    task = asyncio.create_task(inside(breaker, asyncio.Event()))
    await settle_down()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_calls_overlap() -> None:
    """Findings 3 and 4: a hundred are inside at the same time, no lock is held over an await."""
    breaker, _ = named()
    go_on = asyncio.Event()
    tasks = [asyncio.create_task(inside(breaker, go_on)) for _ in range(100)]
    await settle_down()
    go_on.set()
    assert await asyncio.gather(*tasks) == ["done"] * 100


async def half_open(**policy: object) -> tuple[Breaker, FakeClock]:
    """Build a breaker that may be tried again."""
    breaker, clock = named(fail_max=1, **policy)
    await fail(breaker)
    clock.advance(30)
    return breaker, clock


async def test_half_open_lets_exactly_the_probes_in() -> None:
    """Finding 5: one of a hundred at once, not a hundred; the others hear how long to wait."""
    breaker, _ = await half_open()
    go_on = asyncio.Event()
    tasks = [asyncio.create_task(inside(breaker, go_on)) for _ in range(100)]
    await settle_down()
    assert stands(breaker) == "half-open"
    go_on.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [each for each in ended if isinstance(each, CircuitOpen)]
    assert (ended.count("done"), len(refused)) == (1, 99)
    assert (refused[0].name, refused[0].retry_after) == ("payments", 1)
    assert stands(breaker) == "closed"


async def cancel(breaker: Breaker, times: int) -> None:
    """Go inside and be cancelled there."""
    for _ in range(times):
        task = asyncio.create_task(inside(breaker, asyncio.Event()))
        await settle_down()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancellation_is_no_failure() -> None:
    """Finding 6: clients that leave open nothing, and CancelledError stays what it is."""
    breaker, _ = named(fail_max=3)
    await cancel(breaker, 10)
    assert stands(breaker) == "closed"


async def test_cancellation_is_no_success() -> None:
    """Finding 7: it does not begin a row of failures anew, nor close a half-open circuit; the place comes back."""
    breaker, clock = named(fail_max=2)
    await fail(breaker)
    await cancel(breaker, 1)
    await fail(breaker)
    assert stands(breaker) == "open"
    clock.advance(30)
    await cancel(breaker, 2)
    assert stands(breaker) == "half-open"


async def test_a_late_success_closes_nothing() -> None:
    """Finding 8: of two probes one fails; the other's success comes too late to matter."""
    breaker, _ = await half_open(probes=2)
    go_on = asyncio.Event()
    task = asyncio.create_task(inside(breaker, go_on))
    await settle_down()
    await fail(breaker)
    go_on.set()
    await task
    assert stands(breaker) == "open"


async def test_a_late_failure_prolongs_nothing() -> None:
    """Finding 9: what began before the circuit opened does not move the end of its wait."""
    breaker, clock = named(fail_max=1)
    go_on = asyncio.Event()

    async def late() -> None:
        async with breaker:
            await go_on.wait()
            raise RuntimeError("it failed")

    task = asyncio.create_task(late())
    await settle_down()
    await fail(breaker)
    clock.advance(29)
    go_on.set()
    with pytest.raises(RuntimeError):
        await task
    clock.advance(1)
    async with breaker:
        assert stands(breaker) == "half-open"


async def test_half_of_all_calls_failing_opens_it() -> None:
    """Finding 10: where a rate is asked for, failures need not come in a row."""
    breaker, _ = named(failure_rate=0.5)
    for _ in range(5):
        assert stands(breaker) == "closed"
        async with breaker:
            pass
        await fail(breaker)
    assert stands(breaker) == "open"


async def test_what_was_raised_is_raised() -> None:
    """Finding 11: the call that opens the circuit raises its own exception; waits follow the clock that is given."""
    breaker, clock = named(fail_max=1)
    with pytest.raises(ZeroDivisionError):
        async with breaker:
            _ = 1 / 0
    with pytest.raises(CircuitOpen, match="try again in 30 s"):
        async with breaker:
            pass
    clock.advance(30)
    with pytest.raises(CircuitOpen, match="try again in 1 s"):
        async with breaker, breaker:
            pass
    assert stands(breaker) == "half-open"
    async with breaker:
        pass
    async with breaker, breaker:
        pass
    assert stands(breaker) == "closed"


async def test_modes() -> None:
    """Forced open refuses all, disabled none; a shadow counts and says so, and refuses nobody."""
    forced, clock = named(mode="forced_open")
    clock.advance(10_000)
    assert stands(forced) == "open"
    with pytest.raises(CircuitOpen):
        async with forced:
            pass
    disabled, _ = named(mode="disabled", fail_max=1)
    await fail(disabled, 3)
    assert stands(disabled) == "closed"
    shadow, clock = named(mode="shadow", fail_max=1)
    await fail(shadow, 3)
    assert stands(shadow) == "open"
    assert repr(shadow) == "<Breaker 'payments' open>"


async def test_an_operator_acts_and_listeners_hear(caplog: pytest.LogCaptureFixture) -> None:
    """Each transition is told once, and logged once."""
    breaker, clock = named()
    heard: list[str] = []
    breaker.listeners.append(lambda each, _before, _after: heard.append(each.state))
    with caplog.at_level(logging.INFO, "forecourt"):
        breaker.open(5)
        clock.advance(5)
        async with breaker:
            pass
        breaker.open()
        breaker.close()
    assert heard == ["open", "half-open", "closed", "open", "closed"]
    assert [record.message for record in caplog.records][:2] == [
        "breaker 'payments' is open for 5.0 s",
        "breaker 'payments' is half-open",
    ]
    assert repr(breaker.position).startswith("Closed(")


def test_names_are_shared_and_unknown_ones_refused() -> None:
    """One name is one breaker; an endpoint's own breaker has its name; a typing mistake names the nearest."""
    shared = EndpointPolicy(circuit_breaker=CircuitBreaker(name="payments"))
    own = EndpointPolicy(circuit_breaker=CircuitBreaker())
    config = JobConfig(endpoints={"pay": shared, "refund": shared, "list": own, "a*": own}, default=own)
    assert config.breaker("payments") is config.breaker("payments")
    assert config.breakers.of(CircuitBreaker(name="payments"), "pay") is config.breaker("payments")
    assert config.breaker("list").name == "list"
    assert [each.name for each in config.breakers] == ["payments", "list"]
    assert "payments" in repr(config.breakers)
    with pytest.raises(ConfigError, match='no policy has a breaker named "paiments"; did you mean "payments"'):
        config.breaker("paiments")
    with pytest.raises(ConfigError, match="; there are none"):
        JobConfig(endpoints={}).breaker("zzz")


async def test_another_clock_is_told_by_all() -> None:
    """Breakers that were made before a stack came to be tell the time as those that are made after it."""
    config = JobConfig(endpoints={"pay": EndpointPolicy(circuit_breaker=CircuitBreaker(fail_max=1, jitter=0))})
    breaker, clock = config.breaker("pay"), FakeClock()
    config.breakers.bind(clock)
    await fail(breaker, 1)
    clock.advance(31)
    async with breaker:
        pass
    assert stands(breaker) == "closed"


async def test_slow_calls_open_it() -> None:
    """Where the policy says what is slow, each call is timed, from when it came in."""
    breaker, clock = named(fail_max="off", slow_call=2, slow_rate=0.5, minimum_calls=2, window=2)
    for seconds in (1, 1, 2):
        assert stands(breaker) == "closed"
        async with breaker:
            clock.advance(seconds)
    assert stands(breaker) == "open"


def test_an_observer_listens_once() -> None:
    """The stack that comes later takes the place of the one before it, with breakers that are made already, too."""
    config = JobConfig(endpoints={"pay": EndpointPolicy(circuit_breaker=CircuitBreaker(name="payments"))})
    breaker = config.breaker("payments")
    heard: list[str] = []
    config.breakers.listen("metrics", lambda *_: heard.append("old"))
    config.breakers.listen("metrics", lambda *_: heard.append("new"))
    breaker.open()
    assert heard == ["new"]


async def test_another_process_is_followed_while_nobody_probes() -> None:
    """Half-open with no probe under way it opens with the others; a probe of its own is waited for."""
    breaker, clock = named(fail_max=1, reset_timeout=1)
    await fail(breaker, 1)
    clock.advance(1)
    go_on = asyncio.Event()
    probe = asyncio.create_task(inside(breaker, go_on))
    await asyncio.sleep(0)
    breaker.follow(9_000_000)
    assert stands(breaker) == "half-open"
    probe.cancel()
    await asyncio.wait([probe])
    breaker.follow(9_000_000)
    assert stands(breaker) == "open"


async def test_one_task_may_be_inside_more_than_once() -> None:
    """Each way out settles its own way in: the inner failure counts, and so does the outer success after it."""
    breaker, _ = named(fail_max=2)
    async with breaker:
        await fail(breaker, 1)
    await fail(breaker, 1)
    assert stands(breaker) == "closed"
    await fail(breaker, 1)
    assert stands(breaker) == "open"
    assert not breaker._inside


async def test_a_success_from_before_a_transition_is_dropped() -> None:
    """What came in while the circuit was closed says nothing once it has opened and closed again."""
    breaker, clock = named(fail_max=2, reset_timeout=1)
    async with breaker:
        await fail(breaker, 2)
        clock.advance(2)
        async with breaker:
            pass
        await fail(breaker, 1)
    await fail(breaker, 1)
    assert stands(breaker) == "open"


def test_one_name_means_one_thing() -> None:
    """Two descriptions of one breaker are told with the field that differs."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(
            endpoints={
                "pay": EndpointPolicy(circuit_breaker=CircuitBreaker(name="payments")),
                "refund": EndpointPolicy(circuit_breaker=CircuitBreaker(name="payments", fail_max=3)),
                "other": EndpointPolicy(circuit_breaker="off"),
            }
        )
    assert str(caught.value) == (
        'endpoints."refund".circuit_breaker.name: "payments" is also the name of endpoints."pay".circuit_breaker, '
        "whose fail_max differs; breakers of one name are one"
    )


class Heard(pybreaker.CircuitBreakerListener):
    """A listener as pybreaker's users have them."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def success(self, _cb: pybreaker.CircuitBreaker) -> None:
        """Hear of a success."""
        self.said.append("success")

    def failure(self, _cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
        """Hear of a failure."""
        self.said.append(type(exc).__name__)

    def state_change(self, _cb: object, _old: object, new: pybreaker.CircuitBreakerState) -> None:
        """Hear of a transition."""
        self.said.append(new.name)


async def until(true: Callable[[], bool]) -> None:
    """Wait until the mirror's thread has come so far."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_a_mirror_tells_pybreakers_listeners() -> None:
    """They hear each call and each transition, as of a breaker of their own; and the mirror is made once."""
    breaker, clock = named(fail_max=2)
    theirs, heard = breaker.pybreaker(), Heard()
    assert breaker.pybreaker() is theirs
    theirs.add_listener(heard)
    async with breaker:
        pass
    await fail(breaker, 2)
    await until(lambda: "open" in heard.said)
    assert heard.said == ["success", "RuntimeError", "RuntimeError", "open"]
    assert theirs.current_state == "open"
    clock.advance(30)
    async with breaker:
        pass
    breaker.settle(None, "success")
    await until(lambda: str(theirs.current_state) == "closed")
    permit = breaker.admit()
    breaker.settle(permit, "failure")  # type: ignore[arg-type]  # closed, so it is a permit
    await until(lambda: "FailedCall" in heard.said)
    assert stands(breaker) == "closed"


async def test_an_operator_of_the_mirror_is_obeyed() -> None:
    """`open()` and `close()` of the real pybreaker, from another thread too."""
    breaker, _ = named()
    theirs = breaker.pybreaker()
    theirs.open()
    assert stands(breaker) == "open"
    await asyncio.to_thread(theirs.close)
    assert stands(breaker) == "closed"
    theirs.half_open()
    assert stands(breaker) == "closed"


async def test_a_mirror_follows_what_it_cannot_know() -> None:
    """Ours is opened by an operator, who told pybreaker nothing: its mirror opens, and closes with ours."""
    breaker, _ = named()
    theirs, heard = breaker.pybreaker(), Heard()
    theirs.add_listener(heard)
    breaker.open()
    await until(lambda: heard.said == ["open"])
    breaker.close()
    await until(lambda: heard.said == ["open", "closed"])


async def test_synchronous_code_shares_the_breaker_and_blocks_nobody() -> None:
    """While it is inside, holding pybreaker's lock, calls of ours go on; its failures open ours."""
    breaker, _ = named(fail_max=1)
    theirs, entered, go_on = breaker.pybreaker(), threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        go_on.wait(5)
        raise OSError("it failed")

    thread = asyncio.create_task(asyncio.to_thread(theirs.call, work))
    await asyncio.to_thread(entered.wait, 5)
    async with asyncio.timeout(1):
        async with breaker:
            pass
    go_on.set()
    with pytest.raises(OSError, match="it failed"):
        await thread
    assert stands(breaker) == "open"


async def test_a_mirror_of_an_open_breaker_is_open() -> None:
    """It begins where ours stands, by a rate alone too."""
    breaker, _ = named(fail_max="off", failure_rate=0.5)
    breaker.open()
    theirs = breaker.pybreaker()
    await until(lambda: theirs.current_state == "open")
    breaker.close()
    await until(lambda: str(theirs.current_state) == "closed")


def test_without_pybreaker_a_mirror_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words that say what to install."""
    monkeypatch.setitem(__import__("sys").modules, "forecourt.breaker_mirror", None)
    breaker, _ = named()
    with pytest.raises(ConfigError, match=r"pip install 'forecourt\[breaker\]'"):
        breaker.pybreaker()
