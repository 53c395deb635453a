"""What every limit says, and what of it is refused."""

import pytest
from pydantic import ValidationError

from forecourt.policies import FixedWindow, TokenBucket


def refusals(**words: object) -> list[str]:
    """Return what is wrong in a limit of 5 a minute with these words, as `place: sentence`."""
    with pytest.raises(ValidationError) as caught:
        FixedWindow.model_validate({"limit": 5, "window": 60, **words})
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in caught.value.errors()]


@pytest.mark.parametrize("key", ["principal", "client", "tenant", "endpoint", "header:X-Org", "a_function"])
def test_keys(key: str) -> None:
    """The words, a header, and any other text, which the config must then know."""
    assert FixedWindow(limit=5, window=60, key=key).key == key


@pytest.mark.parametrize("key", ["header:", "header:X Org", "header:X:Y"])
def test_a_header_has_a_name(key: str) -> None:
    """`header:` is followed by the name of a header (RFC 9110 §5.1: a token)."""
    assert refusals(key=key) == [f'key: "{key}" is not allowed: must name a header, as in header:X-Org']


@pytest.mark.parametrize(("key", "shown"), [("", '""'), (5, "5"), (None, "nothing")])
def test_keys_are_text(key: object, shown: str) -> None:
    """A key is a word."""
    reason = "must be principal, client, tenant, endpoint, header:NAME or a name in key_functions"
    assert refusals(key=key) == [f"key: {shown} is not allowed: {reason}"]


def test_names() -> None:
    """A name is short and plain, as it stands in keys and response fields; it may be absent."""
    assert FixedWindow(limit=5, window=60, name="per-user_1.0").name == "per-user_1.0"
    assert FixedWindow(limit=5, window=60, name=None).name is None
    reason = "must be 1 to 64 letters, digits, _, . or -"
    assert refusals(name="a b") == [f'name: "a b" is not allowed: {reason}']
    assert refusals(name="") == [f'name: "" is not allowed: {reason}']
    assert refusals(name=5) == [f"name: 5 is not allowed: {reason}"]


def test_words_of_a_choice() -> None:
    """A word that is not one of a choice is answered with the choice, and the nearest of it."""
    reason = "must be 'request', 'connect', 'message' or 'failure'; did you mean \"failure\"?"
    assert refusals(count="failures") == [f'count: "failures" is not allowed: {reason}']
    assert refusals(on_store_error=5) == ["on_store_error: 5 is not allowed: must be 'local', 'open' or 'closed'"]
    assert refusals(shadow="perhaps") == ['shadow: "perhaps" is not allowed: must be true or false']
    assert refusals(shadow=[]) == ["shadow: a list is not allowed: must be true or false"]


@pytest.mark.parametrize("tiers", ["gold", {"gold": 5}])
def test_tiers_are_tables(tiers: object) -> None:
    """Each tier is a table of numbers."""
    shown = '"gold"' if tiers == "gold" else "a table"
    reason = 'must be a table of tiers, each a table such as {"gold": {"limit": 100}}'
    assert refusals(tiers=tiers) == [f"tiers: {shown} is not allowed: {reason}"]


def test_a_tier_changes_numbers_only() -> None:
    """A word that a tier may not change, or that does not exist, is refused under the tier's name."""
    assert refusals(tiers={"gold": {"cost": 2, "limt": 3}}) == [
        "tiers.gold.cost: a tier may change only limit and window",
        'tiers.gold.limt: unknown word; did you mean "limit"?',
    ]


def test_a_tier_is_checked_as_the_limit_it_makes() -> None:
    """A number that is wrong in a tier, or makes the limit impossible for it, is refused under its name."""
    assert refusals(cost=2, tiers={"gold": {"limit": 1}, "free": {"window": 0}}) == [
        "tiers.gold.cost: 2 is not allowed: must be at most limit (1), or no call can ever pass",
        "tiers.free.window: 0 is not allowed: must be greater than 0",
    ]


def test_a_limit_cannot_be_changed() -> None:
    """A limit is frozen, and so are its tiers, also against the table they were given in."""
    given = {"gold": {"limit": 6.0}}
    limit = FixedWindow(limit=5, window=60, tiers=given)
    given["gold"]["limit"] = 7
    assert limit.operation("gold")[1][0] == 6
    with pytest.raises(ValidationError):
        setattr(limit, "limit", 7)  # noqa: B010 - the mistake under test
    with pytest.raises(TypeError):
        limit.tiers["gold"]["limit"] = 7  # type: ignore[index]  # the mistake under test


def test_equal_limits_are_equal_and_hash_alike() -> None:
    """Limits compare by value, tiers included, and may be kept in sets."""
    gold = {"gold": {"limit": 6}}
    assert FixedWindow(limit=5, window=60) == FixedWindow(limit=5, window=60.0)
    assert FixedWindow(limit=5, window=60, tiers=gold) == FixedWindow(limit=5, window=60, tiers=gold)
    assert FixedWindow(limit=5, window=60, tiers=gold) != FixedWindow(limit=5, window=60)
    assert len({FixedWindow(limit=5, window=60, tiers=gold), FixedWindow(limit=5, window=60, tiers=gold)}) == 1
    assert len({FixedWindow(limit=5, window=60), TokenBucket(max_tokens=5, refill_rate=60)}) == 2


def test_a_limit_is_written_as_it_is_read() -> None:
    """What a model dumps, as Python or JSON, builds the same model."""
    limit = FixedWindow(limit=5, window=60, tiers={"gold": {"limit": 6}}, name="a", shadow=True)
    assert FixedWindow.model_validate(limit.model_dump()) == limit
    assert FixedWindow.model_validate_json(limit.model_dump_json()) == limit
