"""Store keys for identities."""

import pytest

from forecourt.principals import Keys, digest


def test_keys_hold_no_identity_and_keep_it_on_one_slot() -> None:
    """The hash tag is a digest: the same for all keys of an identity, telling nothing of it."""
    keys = Keys("fc")
    one, two = (
        keys.key("token_bucket", "a", "client", "192.0.2.7"),
        keys.key("lease", "b", "client", "192.0.2.7"),
    )
    assert one.startswith("fc:{")
    assert one.endswith("}:token_bucket:a")
    assert one.split("}")[0] == two.split("}")[0]
    assert "192.0.2.7" not in one + two


def test_parts_do_not_run_together() -> None:
    """Lengths are hashed too: ("ab", "c") is not ("a", "bc")."""
    assert digest("ab", "c") != digest("a", "bc")
    assert len(digest("x")) == 16


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless identities do not grow the table without end, and their keys stay the same."""
    monkeypatch.setattr("forecourt.principals._KNOWN_TAGS", 10)
    keys = Keys("fc")
    first = keys.key("k", "n", "client", "0")
    for caller in range(100):
        keys.key("k", "n", "client", str(caller))
    assert len(keys._tags) <= 10
    assert keys.key("k", "n", "client", "0") == first


def test_undecodable_bytes_are_an_identity_too() -> None:
    """A header with lone surrogates (bytes that are no text) is hashed, not an error."""
    assert digest("\udcff") != digest("?")
