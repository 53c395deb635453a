"""The fields that tell callers their limits."""

from forecourt.limit_fields import WRITERS, Quota, Standing

BURST = Standing(Quota("burst", 100, 60), 50, 29_000_001)
DAILY = Standing(Quota("daily", 1000, 86_400), 999, 0)
QUICK = Standing(Quota("quick", 2, 0), 1, 1)


def test_the_draft_lists_every_limit() -> None:
    """draft-11 syntax: q and w, r and t; seconds are rounded up, an unknown window or reset is left out."""
    assert WRITERS["draft-11"]([BURST, DAILY, QUICK]) == [
        (b"ratelimit-policy", b'"burst";q=100;w=60, "daily";q=1000;w=86400, "quick";q=2'),
        (b"ratelimit", b'"burst";r=50;t=30, "daily";r=999, "quick";r=1;t=1'),
    ]


def test_the_older_fields_show_the_limit_nearest_its_end() -> None:
    """X-RateLimit-* has room for one limit: that with the least left; Reset is seconds from now."""
    assert WRITERS["legacy"]([BURST, QUICK]) == [
        (b"x-ratelimit-limit", b"2"),
        (b"x-ratelimit-remaining", b"1"),
        (b"x-ratelimit-reset", b"1"),
    ]


def test_a_unit_other_than_requests_is_named() -> None:
    """draft-11: `qu`, without a window where the unit has none."""
    assert WRITERS["draft-11"]([Standing(Quota("concurrency", 5, 0, "concurrent-requests"), 4, 0)]) == [
        (b"ratelimit-policy", b'"concurrency";q=5;qu="concurrent-requests"'),
        (b"ratelimit", b'"concurrency";r=4'),
    ]


def test_both_and_none() -> None:
    """`both` writes five fields, `none` nothing."""
    assert len(WRITERS["both"]([BURST])) == 5
    assert WRITERS["none"]([BURST]) == []


def test_without_limits_there_are_no_fields() -> None:
    """A call without limits says nothing of limits."""
    assert WRITERS["both"]([]) == []
