"""How a mistake in a config is told."""

from typing import ClassVar

import pytest
from pydantic import ValidationError

from forecourt.policies.wording import Place, Words, nearest, not_allowed, problems, shown, spelt


class Nested(Words):
    """A model below another, as a policy is below an endpoint."""

    number: int


class Example(Words):
    """A model with the kinds of fields that configs have."""

    name: str = ""
    nested: Nested | None = None
    tiers: dict[str, Nested] = {}  # noqa: RUF012 - pydantic copies it

    later: ClassVar[frozenset[str]] = frozenset({"soon"})
    file_words: ClassVar[frozenset[str]] = frozenset({"preset"})


def told(**words: object) -> list[str]:
    """Return the lines that tell what is wrong with an Example of these words."""
    with pytest.raises(ValidationError) as caught:
        Example.model_validate(words)
    return problems(caught.value)


def test_every_mistake_is_told_once() -> None:
    """All mistakes of all levels are told, each where it is, in the order of the fields."""
    assert told(name=5, nested={"number": []}, tiers={"gold": {"number": 1, "numbr": 2}}, soon=1) == [
        "name: 5 is not allowed: must be text",
        "nested.number: a list is not allowed: must be a valid integer",
        'tiers."gold".numbr: unknown word; did you mean "number"?',
        "soon: `soon` is not in this version",
    ]


def test_a_misspelt_field_is_not_also_missing() -> None:
    """A required field whose name is misspelt is one mistake; one that is just absent is told."""
    assert told(nested={"numbr": 1}) == ['nested.numbr: unknown word; did you mean "number"?']
    assert told(nested={"zzz": 1}) == [
        "nested.number: must be given",
        "nested.zzz: unknown word; known are number",
    ]


def test_a_table_is_expected() -> None:
    """A model's name tells Python users what to build, and file writers that a table is meant."""
    assert told(nested=5) == ["nested: 5 is not allowed: must be a Nested, in files a table of its fields"]
    assert told(tiers=5) == ["tiers: 5 is not allowed: must be a table"]


def test_python_users_read_the_same() -> None:
    """A model that is built in Python tells its mistakes in the same words, once, without the value again."""
    with pytest.raises(ValidationError) as caught:
        Nested(number="x")  # type: ignore[arg-type]  # the mistake under test
    assert str(caught.value) == (
        "1 validation error for Nested\nnumber\n"
        '  "x" is not allowed: must be a valid integer, unable to parse string as an integer [type=not_allowed]'
    )


def test_text_in_braces_stays_text() -> None:
    """A value with braces is shown as it is."""
    assert told(nested="{number}") == [
        'nested: "{number}" is not allowed: must be a Nested, in files a table of its fields'
    ]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (("endpoints", "admin:*", "rate_limit", 0, "limit"), 'endpoints."admin:*".rate_limit[0].limit'),
        (("endpoints", "tiers", "rate_limit", "tiers", "gold"), 'endpoints."tiers".rate_limit.tiers."gold"'),
        (("trusted_proxies", 1), "trusted_proxies[1]"),
        (("default",), "default"),
    ],
)
def test_places(place: Place, text: str) -> None:
    """Names that an operator chose are quoted, positions counted from 0."""
    assert spelt(place) == text


class Hidden(str):
    """Text that shows itself as something else."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "the value of env:X"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.5, "1.5"),
        (None, "nothing"),
        ("text", '"text"'),
        ("x" * 60, '"' + "x" * 60 + '"'),
        ("x" * 61, '"' + "x" * 60 + '…"'),
        (Hidden("secret"), "the value of env:X"),
        ({"password": "secret"}, "a table"),
        (["secret"], "a list"),
        (("secret",), "a list"),
        (Nested(number=1), "a value of type Nested"),
    ],
)
def test_values(value: object, text: str) -> None:
    """Numbers and text are shown, long text cut; tables, lists, objects and secrets are named only."""
    assert shown(value) == text
    assert not_allowed(value, "why") == f"{text} is not allowed: why"


def test_nearest() -> None:
    """The nearest known words are offered, the nearest first; where none is near, nothing is."""
    assert nearest("get_recrod", ["get_record", "post"]) == '; did you mean "get_record"?'
    assert nearest("get_records", ["get_record", "get_recordz", "x"], most=3) in {
        '; did you mean "get_record" or "get_recordz"?',
        '; did you mean "get_recordz" or "get_record"?',
    }
    assert nearest("zzz", ["get_record"]) == ""
