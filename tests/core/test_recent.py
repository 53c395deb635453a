"""What happened in the last few minutes, and how long it took."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.recent import Recent, bucket, longest, quantile

TIMES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=60)


@given(TIMES)
def test_counts_are_those_of_the_last_slots(steps: list[tuple[int, str]]) -> None:
    """As a list of all that happened says, however time passes, in total, by slot and for the newest slots."""
    recent, happened, now = Recent(10, 4), [], 0
    for passed, name in steps:
        now += passed
        recent.add(now, (name,))
        happened.append((now // 10, name))
    slot = now // 10
    assert dict(recent.totals(now)) == Counter((name,) for at, name in happened if at > slot - 4)
    assert recent.last(now, 2) == Counter((name,) for at, name in happened if at > slot - 2)
    for name in "abc":
        expected = [happened.count((each, name)) for each in range(slot - 3, slot + 1)]
        assert recent.series(now, (name,)) == expected


def test_a_clock_set_back_adds_to_the_newest() -> None:
    """And nothing is forgotten for it."""
    recent = Recent(10, 3)
    recent.add(100, ("a",))
    recent.add(5, ("a",), 2)
    assert dict(recent.totals(0)) == {("a",): 3}
    assert recent.series(0, ("a",)) == [0, 0, 3]


def test_a_slot_takes_so_many_keys() -> None:
    """What more come are not kept; those that are known go on, and the next slot has room again."""
    recent = Recent(10, 3, most=2)
    for name in ("a", "b", "c", "a"):
        recent.add(1, (name,))
    recent.add(11, ("c",))
    assert dict(recent.totals(11)) == {("a",): 2, ("b",): 1, ("c",): 1}
    assert dict(recent.totals(1000)) == {}


@given(st.integers(-5, 10**12))
def test_a_bucket_holds_what_is_at_most_a_quarter_shorter_than_its_longest(took: int) -> None:
    """And buckets follow one another without a gap."""
    number, real = bucket(took), max(0, took)
    assert real <= longest(number) <= max(3, real * 5 // 4)
    assert number == 0 or longest(number - 1) < real


@given(st.lists(st.integers(0, 10**7), min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_never_too_short(took: list[int], share: float) -> None:
    """It is the longest of the bucket that the real one is in."""
    ordered = sorted(took)
    real = ordered[max(0, -(-int(share * 100) * len(took) // 100) - 1)]
    found = quantile(Counter(map(bucket, took)), share)
    assert found is not None
    assert real <= found <= longest(bucket(ordered[-1]))


def test_of_nothing_there_is_no_quantile() -> None:
    """None."""
    assert quantile({}, 0.5) is None
