"""Age, lifetime, heuristics and stale windows, by the sections that say so."""

import pytest

from forecourt.core.caching.dates import parsed, written
from forecourt.core.caching.directives import Header, cache_control
from forecourt.core.caching.freshness import (
    ANYTHING,
    Demand,
    Life,
    Terms,
    demand,
    initial_age,
    life,
    may_be_stale,
    satisfies,
)
from forecourt.types import SECOND

NOW = 784111777 * SECOND
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
LATER = b"Sun, 06 Nov 1994 08:50:37 GMT"
NO_TERMS = Terms()
HOUR_BEFORE = b"Sun, 06 Nov 1994 07:49:37 GMT"


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_three_forms_of_dates_are_read(text: str) -> None:
    """RFC 9110 §5.6.7: "A recipient that parses a timestamp value … MUST accept all three HTTP-date formats"."""
    assert parsed(text) == 784111777
    assert written(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize("text", ["", "0", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT", "-1"])
def test_what_is_no_date_is_none(text: str) -> None:
    """Nothing is guessed."""
    assert parsed(text) is None


def test_a_year_of_two_digits_may_be_of_this_century() -> None:
    """RFC 9110 §5.6.7."""
    assert written(parsed("Sunday, 06-Nov-22 08:49:37 GMT") or 0).endswith("2022 08:49:37 GMT")


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ([], 0),
        ([(b"date", DATE)], 0),
        ([(b"date", HOUR_BEFORE)], 3600),
        ([(b"date", LATER)], 0),
        ([(b"age", b"100")], 101),
        ([(b"age", b"0")], 0),
        ([(b"age", b"x")], 0),
        ([(b"age", b"100, 200")], 101),
        ([(b"date", HOUR_BEFORE), (b"age", b"100")], 3600),
        ([(b"date", b"never")], 0),
    ],
)
def test_age(headers: list[Header], age: int) -> None:
    """As RFC 9111 §4.2.3 says.

    RFC 9111 §4.2.3: corrected_initial_age is the larger of apparent_age and age_value + response_delay (1 s here).
    """
    assert initial_age(headers, NOW, took=SECOND) == age * SECOND


def lived(
    text: str = "", *headers: Header, status: int = 200, terms: Terms = NO_TERMS, aimed: bool = False
) -> Life | None:
    """Return how long such a response lives."""
    return life(status, headers, cache_control([text]), terms, NOW, aimed=aimed)


@pytest.mark.parametrize(
    ("text", "headers", "fresh"),
    [
        ("max-age=60", [], 60),
        ("max-age=60, s-maxage=10", [], 10),
        ("max-age=x", [], 0),
        ("max-age=60", [(b"expires", DATE)], 60),
        ("", [(b"expires", LATER), (b"date", DATE)], 60),
        ("", [(b"expires", LATER)], 60),
        ("", [(b"expires", b"0")], 0),
        ("", [(b"expires", HOUR_BEFORE), (b"date", DATE)], 0),
        ("max-age=99999999999", [], 30 * 86400),
    ],
)
def test_lifetime(text: str, headers: list[Header], fresh: int) -> None:
    """As RFC 9111 §4.2.1 says.

    RFC 9111 §4.2.1: s-maxage in a shared cache, else max-age, else Expires less Date. §5.3: an invalid date,
    "especially including the value 0", is in the past.
    """
    lives = lived(text, *headers)
    assert lives is not None
    assert lives.fresh == fresh * SECOND


def test_nothing_said_is_no_lifetime() -> None:
    """Without heuristics, what says nothing is not fresh at all; RFC 9213 §2.2.

    nor does Expires count beside a target.
    """
    assert lived() is None
    assert lived("public") is None
    assert lived("", (b"expires", LATER), aimed=True) is None


def test_a_tenth_since_last_modified() -> None:
    """RFC 9111 §4.2.2: heuristics only without explicit freshness, of statuses that allow it, or with `public`."""
    terms = Terms(heuristics=True)
    modified = (b"last-modified", HOUR_BEFORE)
    assert lived("", modified, terms=terms) == Life(360 * SECOND)
    assert lived("", modified, terms=terms, status=302) is None
    assert lived("public", modified, terms=terms, status=302) == Life(360 * SECOND)
    assert lived("max-age=5", modified, terms=terms) == Life(5 * SECOND)
    assert lived("", (b"last-modified", LATER), terms=terms) is None
    assert lived("", (b"last-modified", b"x"), terms=terms) is None


def test_a_policy_says_how_long_for_successes() -> None:
    """`ttl` is ours alone and wins over the response; errors are kept only where they say so themselves."""
    terms = Terms(ttl=7 * SECOND)
    assert lived("max-age=60", terms=terms) == Life(7 * SECOND)
    assert lived("", terms=terms, status=404) is None
    assert lived("max-age=3", terms=terms, status=404) == Life(3 * SECOND)


def test_no_cache_is_never_fresh() -> None:
    """RFC 9111 §5.2.2.4: it "MUST NOT be used to satisfy any other request without forwarding it for validation"."""
    assert lived("no-cache, max-age=60") == Life(0)
    assert lived('no-cache="a", max-age=60') == Life(60 * SECOND)


def test_stale_windows() -> None:
    """RFC 5861 §3, §4: what the response says, else the policy; RFC 9111 §4.2.4: nothing where it forbids staleness."""
    terms = Terms(while_revalidate=5 * SECOND, if_error=9 * SECOND)
    assert lived("max-age=60", terms=terms) == Life(60 * SECOND, 5 * SECOND, 9 * SECOND)
    said = "max-age=60, stale-while-revalidate=1, stale-if-error=2"
    assert lived(said, terms=terms) == Life(60 * SECOND, SECOND, 2 * SECOND)
    assert Life(60, 1, 2).whole == 62
    for firm in ("must-revalidate", "proxy-revalidate", "s-maxage=60"):
        assert lived(f"max-age=60, {firm}", terms=terms) == Life(60 * SECOND)
        assert not may_be_stale(cache_control([firm]))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", ANYTHING),
        ("max-age=5", Demand(age=5 * SECOND)),
        ("min-fresh=5", Demand(fresh=5 * SECOND)),
        ("max-stale", Demand(stale=-1)),
        ("max-stale=5", Demand(stale=5 * SECOND)),
        ("no-cache", Demand(revalidated=True)),
        ("no-store", Demand(stored=False)),
        ("only-if-cached", Demand(only_cached=True)),
        ("max-age=x", ANYTHING),
    ],
)
def test_requests_ask(text: str, asked: Demand) -> None:
    """RFC 9111 §5.2.1."""
    assert demand(cache_control([text]) if text else {}) == asked


@pytest.mark.parametrize(
    ("asked", "age", "served"),
    [
        (ANYTHING, 59, True),
        (ANYTHING, 60, False),
        (Demand(age=10), 10, True),
        (Demand(age=10), 11, False),
        (Demand(fresh=10), 50, True),
        (Demand(fresh=10), 51, False),
        (Demand(stale=-1), 1000, True),
        (Demand(stale=5), 65, True),
        (Demand(stale=5), 66, False),
        (Demand(stale=5, fresh=1), 61, False),
        (Demand(revalidated=True), 0, False),
        (Demand(stale=-1, age=70), 71, False),
    ],
)
def test_what_satisfies_a_request(asked: Demand, age: int, served: bool) -> None:
    """As RFC 9111 §5.2.1.1 says.

    RFC 9111 §5.2.1.1: "the client prefers a response whose age is less than or equal to" max-age; .2: it "will
    accept a response that has exceeded its freshness lifetime" by no more than max-stale; .3: one that "will still
    be fresh for at least" min-fresh. Lifetime 60.
    """
    assert satisfies(asked, age, 60, stale_allowed=True) is served
    if age >= 60:
        assert not satisfies(asked, age, 60, stale_allowed=False)
