"""The load test's checks: each passes what is right, and fails when what it guards is broken."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.calls import SeenCall, read, write
from benchmarks.load.checks import Check, check, excess


def call(endpoint: str, at: float, status: int = 200, *, client: str = "a", counted: bool = True) -> SeenCall:
    """Return a call that took 10 ms."""
    retry_after = 1.0 if status == 429 else None
    return SeenCall(endpoint, client, at, at + 0.01, status, counted, retry_after)


def sound() -> list[SeenCall]:
    """Return the calls of a load in which all is well."""
    calls = [call("health", at / 10, counted=False) for at in range(200)]
    for client in ("a", "b"):
        calls += [call("get_record", at / 100, client=client) for at in range(5)]
        calls += [call("create_record", second, 201, client=client) for second in (1.0, 1.1, 2.5, 2.6)]
        calls += [call("export_records", at, client=client) for at in (1.0, 3.1, 5.2)]
        calls += [call("login", at, 401, client=client) for at in (1.0, 1.1, 1.2, 1.3, 1.4)]
    refused = [call(name, 9.0, 429) for name in ("get_record", "create_record", "export_records", "login")]
    return [*calls, *refused, call("get_record", 10.5)._replace(patient=True)]


def failed(calls: list[SeenCall], sent: tuple[str, ...] = ("t",), kept: tuple[str, ...] = ("t",)) -> list[str]:
    """Return the names of the checks that fail."""
    return [each.name for each in check(calls, sent, kept) if not each.passed]


def test_a_sound_load_passes() -> None:
    """All checks."""
    assert failed(sound()) == []


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ([call("get_record", 0.06)], "get_record: 5 at once and 1 a second, by client"),
        ([call("create_record", 1.2, 201) for _ in range(3)], "create_record: 2 in each second, by client"),
        ([call("export_records", 4.0)], "export_records: one every 2 seconds, by client"),
        ([call("login", 1.5, 401) for _ in range(5)], "login: fewer than 10 failures a minute, by client"),
        ([call("health", 1.0, 503)], "errors within 0.1%"),
        ([call("health", 1.0, 0)], "errors within 0.1%"),
        (
            [call("create_record", 30.0, 201, counted=False)],
            "decided without the store within 5% of each endpoint's calls",
        ),
        ([call("get_record", 40.0)._replace(wrong="x")], "every answer is the one that was asked for"),
        ([call("health", 9.0, 429)._replace(retry_after=None)], "every 429 says when to come back"),
        ([call("health", 9.0, 429)._replace(patient=True)], "who waits as told is let in"),
    ],
)
def test_each_check_fails_when_its_guard_is_gone(extra: list[SeenCall], name: str) -> None:
    """A call too many, an error, an answer of somebody else's: that check fails and no other."""
    assert failed(sound() + extra) == [name]


def test_hourly_limits_are_checked() -> None:
    """Two windows of an hour hold 200, however they are spread over seconds."""
    calls = [call("create_record", 10.0 + at, 201) for at in range(201)]
    assert failed(sound() + calls) == ["create_record: 100 in each hour, by client"]


def test_records_are_kept_once() -> None:
    """A record that was answered 201 is neither lost nor kept twice."""
    name = "every record that was answered 201 is kept, once"
    assert failed(sound(), ("t", "u"), ("t",)) == [name]
    assert failed(sound(), ("t",), ("t", "t")) == [name]
    assert failed(sound(), ("t",), ("t", "of somebody whose answer was lost")) == []


def test_a_load_that_tried_nothing_fails() -> None:
    """Too few calls, limits that refused nobody, nobody who waited: nothing is proven."""
    names = failed([call("health", 1.0, counted=False)])
    assert {"there was a load", "every limit refused someone", "who waits as told is let in"} <= set(names)


def test_calls_survive_their_file(tmp_path: Path) -> None:
    """What users write is what checks read."""
    calls = sound()
    write(tmp_path / "calls.jsonl", calls)
    assert list(read(tmp_path / "calls.jsonl")) == calls


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=12))
def test_excess_is_the_worst_of_all_intervals(times: list[tuple[int, int]]) -> None:
    """Agrees with counting the calls of every interval between a sending and an answer."""
    calls = [SeenCall("e", "c", sent, sent + took, 200, counted=True) for sent, took in times]
    worst = max(
        sum(first.sent <= each.sent and each.received <= last.received for each in calls)
        - (2 + int(last.received - first.sent))
        for first in calls
        for last in calls
        if last.received >= first.sent and last.sent >= first.sent
    )
    assert excess(list(calls), lambda span: 2 + int(span)) == worst


def test_a_check_says_what_it_saw() -> None:
    """Its figures are words for a person."""
    found: list[Check] = check(sound(), (), ())
    assert found[0] == ("there was a load", True, f"{len(sound())} calls of 2 clients")
