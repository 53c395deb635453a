"""The checks after a load of quotes: each fails when what it is about is not true."""

from collections.abc import Callable

import pytest

from benchmarks.load.calls import SeenCall
from benchmarks.load.quotes import DEAD, PHASES, Passed, check, contrast, table
from forecourt.responses import TYPES

Load = tuple[list[Passed], list[SeenCall]]


def call(at: float, status: int = 200, kind: str = "", took: float = 0.05) -> SeenCall:
    """Return a call for a quote."""
    return SeenCall("quote", "", at, at + took, status, False, 2.0 if status == 503 else None, wrong=kind)


def sound() -> Load:
    """Return a run in which policies keep failures in bounds: phases of ten seconds, ten calls a second."""
    phases, calls = [], []
    for number, phase in enumerate(PHASES):
        began = number * 10.0
        phases.append(Passed(phase.name, began, began + 10, 20 if phase.name in DEAD else 100))
        for at in range(100):
            sent = began + at / 10
            refused = phase.name in DEAD or (phase.name.startswith("after") and at < 15)
            calls.append(call(sent, 503, f"{TYPES}circuit-open") if refused else call(sent))
    calls += [SeenCall("health", "", 1.0, 1.1, 200, False)]
    return phases, calls


def failed(load: Load) -> list[str]:
    """Return the names of the checks that fail."""
    return [each.name for each in check(*load) if not each.passed]


def test_a_sound_run_passes() -> None:
    """All checks, and a line for each phase."""
    assert failed(sound()) == []
    assert len(table(*sound())) == 1 + len(PHASES)


def _asked_too_often(load: Load) -> None:
    load[0][2] = load[0][2]._replace(asked=111)


def _of_no_known_type(load: Load) -> None:
    load[1].append(call(25, 503, "about:blank"))


def _an_error_of_ours(load: Load) -> None:
    load[1].append(call(25, 500))


def _lost(load: Load) -> None:
    load[1].append(call(25, 0))


def _no_retry_after(load: Load) -> None:
    load[1].append(call(25, 503, f"{TYPES}circuit-open")._replace(retry_after=None))


def _flaky(load: Load) -> None:
    load[1].extend(call(15, 502, f"{TYPES}upstream-failed") for _ in range(2))


def _down_at_first(load: Load) -> None:
    load[1].append(call(5, 502, f"{TYPES}upstream-failed"))


def _late_recovery(load: Load) -> None:
    refused = call(0, 503, f"{TYPES}circuit-open")
    load[1][:] = [
        refused._replace(sent=each.sent, received=each.received) if 30 <= each.sent < 34 else each for each in load[1]
    ]


def _relapse(load: Load) -> None:
    load[1].append(call(38, 503, f"{TYPES}circuit-open"))


def _long_wait(load: Load) -> None:
    load[1].append(call(5, took=3))


def _dead_service(load: Load) -> None:
    load[1].append(SeenCall("health", "", 65, 80, 0, False))


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (_asked_too_often, "errors: the dead server is asked at most 1.1 × the normal rate"),
        (_of_no_known_type, "callers hear what is documented"),
        (_an_error_of_ours, "callers hear what is documented"),
        (_lost, "callers hear what is documented"),
        (_no_retry_after, "every 503 says when to come back"),
        (_flaky, "flaky: 99% of the calls are answered"),
        (_down_at_first, "normal: 100% of the calls are answered"),
        (_late_recovery, "after errors: quotes again within 2 s and one probe"),
        (_relapse, "after errors: quotes again within 2 s and one probe"),
        (_long_wait, "nobody waits longer than 2 s"),
        (_dead_service, "the service itself is well all the while"),
    ],
)
def test_each_check_fails_when_its_guard_is_gone(spoil: Callable[[Load], None], name: str) -> None:
    """A call too many to the dead server, an answer that no page names, a late recovery: that check and no other."""
    load = sound()
    spoil(load)
    assert failed(load) == [name]


def test_a_run_that_tried_nothing_fails() -> None:
    """Few calls, and nobody refused: nothing is proven."""
    phases, calls = sound()
    few = [each for each in calls if each.status == 200][:150]
    assert {"there was a load", "every 503 says when to come back"} <= set(failed((phases, few)))


def test_the_contrast_needs_trouble() -> None:
    """Where the dead server was not asked by all, or nobody waited, the policies were compared with nothing."""
    phases, calls = sound()
    assert [each.passed for each in contrast(phases, calls)] == [True, False, False]
    asked = [phase._replace(asked=100) for phase in phases]
    assert [each.passed for each in contrast(asked, [*calls, call(65, 504, took=5)])] == [True, True, True]
