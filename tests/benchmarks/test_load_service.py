"""The checks after a load of examples/service: each fails when what it is about is not true."""

from collections.abc import Callable

import pytest

from benchmarks.load.calls import SeenCall
from benchmarks.load.service import MUST, REFUSE, TENANTS, Told, check

Load = tuple[list[SeenCall], Told]


def call(endpoint: str, status: int, at: float = 0.0, took: float = 0.5) -> SeenCall:
    """Return a call of one client."""
    wait = 1.0 if status == 429 else None
    return SeenCall(endpoint, "127.2.0.2", at, at + took, status, counted=True, retry_after=wait)


def sound() -> Load:
    """Return a load that went well: every kind of call, limits that refused, records and jobs that are there."""
    calls = [call(endpoint, min(MUST[endpoint]), at) for endpoint in MUST for at in range(10) if endpoint != "events"]
    calls += [call(endpoint, 429) for endpoint in REFUSE]
    calls += [call("login", 401, at) for at in range(5)]
    calls += [call("events", status, at) for at in range(5) for status in (200, 200, 429)]
    records = [(tenant, f"{tenant} {number}", number) for number, tenant in enumerate(TENANTS)]
    jobs = [("127.2.0.2", f"/jobs/{number}") for number in range(100)]
    return calls, Told(records, jobs, {tenant: [f"{tenant} {number}"] for number, tenant in enumerate(TENANTS)})


def failed(load: Load) -> list[str]:
    """Return the names of the checks that fail."""
    return [each.name for each in check(*load) if not each.passed]


def test_a_sound_load_passes() -> None:
    """All checks."""
    assert failed(sound()) == []


def _a_failure(load: Load) -> None:
    load[0].append(call("guide", 503))


def _a_status_of_no_policy(load: Load) -> None:
    load[0].append(call("paid_again", 204))


def _a_kind_that_nobody_asked(load: Load) -> None:
    load[0][:] = [each for each in load[0] if each.endpoint != "get_rate"]


def _anothers_record(load: Load) -> None:
    load[0].append(call("get_record", 200)._replace(wrong="another tenant's record"))


def _a_limit_that_was_not_met(load: Load) -> None:
    load[0][:] = [each for each in load[0] if (each.endpoint, each.status) != ("upload", 429)]


def _a_refusal_that_says_nothing(load: Load) -> None:
    load[0].append(call("upload", 429)._replace(retry_after=None))


def _too_many_guesses(load: Load) -> None:
    load[0].extend(call("login", 401) for _ in range(5))


def _too_many_searches(load: Load) -> None:
    load[0].extend(call("search_records", 200) for _ in range(60))


def _a_third_stream(load: Load) -> None:
    load[0].extend(call("events", 200, 50) for _ in range(3))


def _a_job_too_many(load: Load) -> None:
    load[1].jobs.append(("127.2.0.2", "/jobs/100"))  # type: ignore[attr-defined]  # a list here


def _a_record_lost(load: Load) -> None:
    load[1].kept["red"].clear()  # type: ignore[attr-defined]  # a list here


def _a_record_kept_twice(load: Load) -> None:
    load[1].kept["red"].append("red 0")  # type: ignore[attr-defined]  # a list here


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (_a_failure, "errors within 0.1%"),
        (_a_status_of_no_policy, "every status is the policy's"),
        (_a_kind_that_nobody_asked, "every status is the policy's"),
        (_anothers_record, "every answer is its caller's own"),
        (_a_limit_that_was_not_met, "every limit refused someone, and said for how long"),
        (_a_refusal_that_says_nothing, "every limit refused someone, and said for how long"),
        (_too_many_guesses, "login: fewer than ten failures a minute"),
        (_a_third_stream, "two streams for each client"),
        (_a_job_too_many, "nobody has more than 100 jobs for their credits"),
        (_a_record_lost, "every record is kept, once"),
        (_a_record_kept_twice, "every record is kept, once"),
    ],
)
def test_what_is_not_true_is_found(spoil: Callable[[Load], None], name: str) -> None:
    """One thing wrong, one check that fails."""
    load = sound()
    spoil(load)
    assert failed(load) == [name]


def test_one_client_may_have_paid_for_more_searches() -> None:
    """A second who is over the bound is not one who paid."""
    load = sound()
    _too_many_searches(load)
    assert failed(load) == []
    load[0].extend(call("search_records", 200)._replace(client="127.2.0.3") for _ in range(60))
    assert failed(load) == ["search_records: fewer than sixty searches a minute, unless paid for"]
