"""What calls cost and what callers are given, and what of it is refused."""

import pytest
from pydantic import ValidationError

from forecourt.policies import Accounts, Credits, EndpointPolicy, Quota
from forecourt.policies.wording import Words


def refusals(model: type[Words], **words: object) -> list[str]:
    """Return what is wrong in a model with these words, as `place: sentence`."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(words)
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in caught.value.errors()]


def test_what_operations_are_told() -> None:
    """A hold in µs, a minute unless given; the kind of period, the amount and the rollover of a quota."""
    assert Credits(amount=2).ttl() == 60_000_000
    assert Credits(amount=2, hold=1.5).ttl() == 1_500_000
    assert Quota(amount=5).terms() == (3, 5, 0)
    assert Quota(amount=5, every="week").terms() == (2, 5, 0)
    assert Quota(amount=5, every="day", rollover=7).terms() == (1, 5, 7)


def test_tiers_have_their_quota_or_everyones() -> None:
    """A tier that is not named has everyone's; without any there is none."""
    accounts = Accounts(quota=Quota(amount=5), tiers={"gold": Quota(amount=50)})
    assert accounts.terms(None) == accounts.terms("silver") == (3, 5, 0)
    assert accounts.terms("gold") == (3, 50, 0)
    assert Accounts().terms("gold") == Accounts().terms(None) == (0, 0, 0)


def test_defaults() -> None:
    """Failures and timeouts cost nothing, accounts are prepaid, a thousand changes are kept."""
    assert Credits(amount=2).refund_on == {"5xx", "timeout"}
    assert Accounts().quota is None
    assert Accounts().journal == 1000


@pytest.mark.parametrize(
    ("model", "words", "refusal"),
    [
        (Credits, {}, "amount: must be given"),
        (Credits, {"amount": 0}, "amount: 0 is not allowed: must be greater than 0"),
        (Credits, {"amount": 1.5}, "amount: 1.5 is not allowed: must be a whole number"),
        (
            Credits,
            {"amount": 10**12 + 1},
            "amount: 1000000000001 is not allowed: must be at most 1000000000000, to be counted exactly",
        ),
        (
            Credits,
            {"amount": 1, "hold": 0.5},
            "hold: 0.5 is not allowed: must be at least 1 second, to be renewed in time",
        ),
        (
            Credits,
            {"amount": 1, "refund_on": ["time_out"]},
            (
                "refund_on.0: \"time_out\" is not allowed: must be '5xx', '4xx', 'timeout', 'cancelled', 'hit' or '304'"
                '; did you mean "timeout"?'
            ),
        ),
        (
            Quota,
            {"amount": 1, "every": "year"},
            "every: \"year\" is not allowed: must be 'day', 'week' or 'month'",
        ),
        (Quota, {"amount": 1, "rollover": -1}, "rollover: -1 is not allowed: must be greater than or equal to 0"),
        (
            Quota,
            {"amount": 2, "rollover": 2001},
            "rollover: 2001 is not allowed: must be at most 1000 times amount, 2000",
        ),
        (Accounts, {"tiers": {"gold": {"amount": 0}}}, "tiers.gold.amount: 0 is not allowed: must be greater than 0"),
        (Accounts, {"journal": 0}, "journal: 0 is not allowed: must be greater than 0"),
        (Accounts, {"quotas": {}}, 'quotas: unknown word; did you mean "quota"?'),
    ],
)
def test_what_cannot_work_is_refused(model: type[Words], words: dict[str, object], refusal: str) -> None:
    """With the value and the reason."""
    assert refusals(model, **words) == [refusal]


def test_the_largest_rollover() -> None:
    """A thousand times the amount may roll over."""
    assert Quota(amount=2, rollover=2000).rollover == 2000


def test_the_field_takes_the_model_its_fields_or_off() -> None:
    """As every field of one policy does."""
    assert EndpointPolicy.model_validate({"credits": {"amount": 2}}).credits == Credits(amount=2)
    assert EndpointPolicy(credits="off").credits == "off"
    assert refusals(EndpointPolicy, credits=2) == [
        'credits: 2 is not allowed: must be Credits with its fields, or "off"'
    ]


def test_tiers_cannot_be_changed() -> None:
    """The config is frozen, tables included."""
    accounts = Accounts(tiers={"gold": Quota(amount=5)})
    with pytest.raises(TypeError):
        accounts.tiers["gold"] = Quota(amount=6)  # type: ignore[index]  # the mistake under test


def test_they_have_schemas() -> None:
    """Editors that complete config files can ask for them."""
    assert set(Accounts.model_json_schema()["properties"]) == {"quota", "tiers", "journal"}
    assert set(Credits.model_json_schema()["properties"]) == {"amount", "refund_on", "hold"}
