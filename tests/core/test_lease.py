"""Concurrency leases: never more than the limit, for as long as they are renewed, else one lease long."""

from hypothesis import given, settings
from hypothesis import strategies as st

from forecourt.core.lease import RENEW
from forecourt.types import SECOND
from tests.core.bench import examples
from tests.core.twins import Kept

TTL = 15 * SECOND


def take(kept: Kept, own: str, limit: int = 2, *, ttl: int = TTL, shadow: int = 0, batch: int = 1) -> tuple[int, ...]:
    """Ask for a lease; return the verdict (1: held), leases left, the wait, leases in use, leases of this id."""
    verdict, left, wait, used, held = kept("lease", "k", limit, ttl, own, shadow, batch)
    assert isinstance(verdict, int)
    return verdict, int(left), int(wait), int(used), int(held)


def test_a_lease_is_held_until_it_is_given_back() -> None:
    """The third of two is refused, and gets the place of the first one that goes."""
    kept = Kept()
    assert take(kept, "a") == (1, 1, 0, 1, 1)
    assert take(kept, "b") == (1, 0, 0, 2, 1)
    assert take(kept, "c") == (0, 0, TTL, 2, 0)
    kept("lease_release", "k", "a")
    assert take(kept, "c") == (1, 0, 0, 2, 1)


def test_a_lease_that_nobody_renews_is_free_when_it_expires() -> None:
    """A killed process frees its place at the instant that a refusal named, and not a microsecond before."""
    kept = Kept()
    take(kept, "dead", 1)
    kept.advance(SECOND)
    _, _, wait, _, _ = take(kept, "next", 1)
    assert wait == TTL - SECOND
    kept.advance(wait - 1)
    assert take(kept, "next", 1)[0] == 0
    kept.advance(1)
    assert take(kept, "next", 1) == (1, 0, 0, 1, 1)


def test_one_of_several_expires_at_its_own_instant() -> None:
    """Others that are still held keep the state alive, but not the lease whose time is over."""
    kept = Kept()
    take(kept, "dead", ttl=SECOND)
    take(kept, "alive")
    kept.advance(SECOND - 1)
    assert take(kept, "next") == (0, 0, 1, 2, 0)
    kept.advance(1)
    assert take(kept, "next") == (1, 0, 0, 2, 1)


def test_a_refused_call_writes_nothing() -> None:
    """Refusals leave the state as it is."""
    kept = Kept()
    take(kept, "a", 1)
    before = dict(kept.entries)
    assert take(kept, "b", 1)[0] == 0
    assert kept.entries == before


def test_taking_twice_is_taking_once() -> None:
    """The same id again holds one lease, for longer, even where there is no room."""
    kept = Kept()
    take(kept, "a", 1)
    kept.advance(TTL - 1)
    assert take(kept, "a", 1) == (1, 0, 0, 1, 1)
    kept.advance(TTL - 1)
    assert take(kept, "b", 1)[0] == 0


def test_a_renewal_keeps_and_takes_again_whatever_the_limit() -> None:
    """After the store forgot, or a clock jumped, those at work count again; then nobody else comes in."""
    kept = Kept()
    take(kept, "a", 1)
    kept.advance(TTL)
    take(kept, "b", 1)
    kept("lease_renew", "k", TTL, "a b")
    assert take(kept, "c", 1) == (0, 0, TTL, 2, 0)
    kept("lease_release", "k", "b")
    assert take(kept, "c", 1)[0] == 0
    assert take(kept, "c", 2)[0] == 1


def test_a_shorter_renewal_shortens_nothing() -> None:
    """A lease lasts as long as the longest that was asked for it."""
    kept = Kept()
    take(kept, "a", 1)
    kept("lease_renew", "k", 1, "a")
    assert take(kept, "b", 1) == (0, 0, TTL, 1, 0)


def test_giving_back_what_is_not_held_is_no_matter() -> None:
    """Releases may be told twice, late, or of nobody's lease."""
    kept = Kept()
    kept("lease_release", "k", "a")
    assert kept.entries == {}
    take(kept, "a", 1)
    for _ in range(2):
        kept("lease_release", "k", "b a")
    assert take(kept, "c", 1)[0] == 1


def test_shadow_counts_and_never_refuses() -> None:
    """Over the limit a shadow lease is held, and says how long the call would have waited."""
    kept = Kept()
    take(kept, "a", 1, shadow=1)
    assert take(kept, "b", 1, shadow=1) == (1, 0, TTL, 2, 1)
    assert take(kept, "c", 2)[0] == 0


def test_a_batch_takes_what_there_is() -> None:
    """Of three wanted two are free; they are known by the id and its numbers, and asked for again they are the same."""
    kept = Kept()
    take(kept, "a", 3)
    assert take(kept, "p", 3, batch=3) == (1, 0, 0, 3, 2)
    assert take(kept, "p", 3, batch=3) == (1, 0, 0, 3, 2)
    kept("lease_release", "k", "p.1")
    assert take(kept, "b", 3) == (1, 0, 0, 3, 1)


def test_a_clock_set_back_delays_and_never_admits() -> None:
    """Leases then last longer; nobody is let in for it."""
    kept = Kept()
    take(kept, "a", 1)
    kept.advance(-60 * SECOND)
    assert take(kept, "b", 1) == (0, 0, TTL + 60 * SECOND, 1, 0)


def test_the_state_lasts_as_long_as_its_last_lease() -> None:
    """It expires with the last lease, not with the one taken last, and goes with the last that is given back."""
    kept = Kept()
    take(kept, "long", ttl=2 * TTL)
    take(kept, "short", ttl=1)
    assert kept.entries["k"].expires == kept.now + 2 * TTL
    kept("lease_release", "k", "long")
    assert kept.entries["k"].expires == kept.now + 1
    kept("lease_release", "k", "short")
    assert kept.entries["k"].state is None
    assert kept.states(RENEW, "k") == (None,)


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "renew", "release", "pass"]),
        st.sampled_from("abcdef"),
        st.integers(0, 2 * TTL) | st.sampled_from([1, TTL // 3, TTL - 1, TTL]),
    ),
    max_size=60,
)


@given(limit=st.integers(1, 4), history=steps)
@settings(max_examples=examples(200), deadline=None)
def test_never_more_than_the_limit_live(limit: int, history: list[tuple[str, str, int]]) -> None:
    """Against a naive set of who is at work: exactly they hold leases, and only renewals go over the limit."""
    kept = Kept()
    live: dict[str, int] = {}
    for step, own, number in history:
        if step == "pass":
            kept.advance(number)
        elif step == "release":
            kept("lease_release", "k", own)
            live.pop(own, None)
        elif step == "renew":
            kept("lease_renew", "k", TTL, own)
            live[own] = kept.now + TTL
        live = {each: expires for each, expires in live.items() if expires > kept.now}
        if step == "take":
            room = own in live or len(live) < limit
            verdict, left, _, used, _ = take(kept, own, limit)
            assert verdict == room
            if room:
                live[own] = max(kept.now + TTL, live.get(own, 0))
            assert (left, used) == (max(0, limit - len(live)), len(live))
