"""A config's values as operators read them."""

from forecourt import FixedWindow
from forecourt.config_spelling import spelt_policy, spelt_side


def test_addresses_are_shown_without_their_passwords() -> None:
    """Of the store, the cache's and of queues."""
    address = "redis://user:planted@db.example:6379/0"
    for place, value in (("store", address), ("cache_store", address), ("queues", {"slow": address})):
        assert "planted" not in spelt_side(place, value)
        assert "db.example" in spelt_side(place, value)


def test_what_is_off_and_what_is_empty_have_words() -> None:
    """Off, none; several limits follow one another."""
    assert (spelt_side("default.rate_limit", None), spelt_side("issuers", ())) == ("off", "none")
    limits = (FixedWindow(limit=1, window=60), FixedWindow(limit=2, window=1))
    assert spelt_policy(limits) == "FixedWindow(limit=1, window=60), FixedWindow(limit=2, window=1)"
