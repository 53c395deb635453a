"""The checks after a load of jobs: each fails when what it is about is not true."""

from collections.abc import Callable

import pytest

from benchmarks.load.jobs import Accepted, Ended, check


def load() -> tuple[list[Accepted], dict[str, Ended], list[str]]:
    """Return a load in which all is well, one job of it cancelled by its owner."""
    accepted = [Accepted(f"default.{at}", "127.1.0.2", f"report {at}", f"report {at}") for at in range(100)]
    ends = {job.id: Ended("succeeded", 1, job.title) for job in accepted}
    accepted[0].cancelled, ends["default.0"], accepted[0].result = True, Ended("cancelled"), ""
    return accepted, ends, []


def test_a_good_load_passes() -> None:
    """All checks, with figures."""
    assert [each.name for each in check(*load()) if not each.passed] == []


def _lost(accepted: list[Accepted], ends: dict[str, Ended], _: list[str]) -> None:
    ends["default.5"] = Ended("")


def _dead(accepted: list[Accepted], ends: dict[str, Ended], _: list[str]) -> None:
    ends["default.5"] = Ended("dead")


def _another(accepted: list[Accepted], ends: dict[str, Ended], _: list[str]) -> None:
    ends["default.5"].title = "report 6"


def _changed(accepted: list[Accepted], ends: dict[str, Ended], _: list[str]) -> None:
    accepted[5].result = "report 6"


def _given_up(accepted: list[Accepted], ends: dict[str, Ended], _: list[str]) -> None:
    ends["default.5"] = Ended("cancelled")


def _twice(accepted: list[Accepted], ends: dict[str, Ended], _: list[str]) -> None:
    accepted[6].id = "default.5"


def _seen(accepted: list[Accepted], ends: dict[str, Ended], wrong: list[str]) -> None:
    wrong.append("another's job answered 200")


def _little(accepted: list[Accepted], ends: dict[str, Ended], _: list[str]) -> None:
    accepted.pop()


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (_lost, "none is lost"),
        (_dead, "none is lost"),
        (_another, "every result is the job's own"),
        (_changed, "every result is the job's own"),
        (_given_up, "none was cancelled but by its owner"),
        (_twice, "every job is one of its own"),
        (_seen, "nobody sees another's job"),
        (_little, "there was a load"),
    ],
)
def test_what_is_not_true_is_found(
    spoil: Callable[[list[Accepted], dict[str, Ended], list[str]], None], name: str
) -> None:
    """Each kind of trouble fails its own check."""
    accepted, ends, wrong = load()
    spoil(accepted, ends, wrong)
    assert name in [each.name for each in check(accepted, ends, wrong) if not each.passed]
