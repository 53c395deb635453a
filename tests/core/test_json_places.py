"""Where values stand in a JSON text: found as a parser finds them, replaced and nothing else touched."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.idempotency_fields import Pointer
from forecourt.core.json_places import places, replaced

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)
SPACES = st.sampled_from([None, 1, "\t"])


def pointers_of(value: object, names: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the names of every place in a value, but the whole: the oracle walks what was parsed."""
    found = [names] if names else []
    members = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for name, each in members:
        found += pointers_of(each, (*names, str(name)))
    return found


def pointer(names: tuple[str, ...]) -> Pointer:
    """Spell a pointer."""
    return Pointer.parse("".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names))


@given(VALUES, SPACES, st.data())
def test_values_are_found_where_a_parser_finds_them(
    value: object, indent: int | str | None, data: st.DataObject
) -> None:
    """However the text is spaced and escaped; a replaced value is the only thing that changes."""
    text = json.dumps(value, indent=indent, ensure_ascii=data.draw(st.booleans()))
    known = pointers_of(value)
    sought = [pointer(names) for names in known]
    if not sought:
        assert places(text, [Pointer.parse("/a")]) == {}
        return
    one = data.draw(st.sampled_from(sought))
    found = places(text, [one])
    assert json.loads(text[found[one.text]]) == one.find(value)
    changed = replaced(text, {one.text: '"other"'}, found)
    assert one.find(json.loads(changed)) == "other"
    back = replaced(changed, {one.text: text[found[one.text]]}, places(changed, [one]))
    assert back == text


def test_several_values_at_once() -> None:
    """From the last to the first, so that none moves another."""
    text = '{"a":[1,{"b":2}],"c":3}'
    sought = [Pointer.parse(each) for each in ("/c", "/a/0", "/a/1/b", "/a/7", "/d/e", "/c/f", "/a/01")]
    found = places(text, sought)
    assert found.keys() == {"/c", "/a/0", "/a/1/b"}
    assert replaced(text, {"/a/0": "100", "/c": "[]"}, found) == '{"a":[100,{"b":2}],"c":[]}'


@pytest.mark.parametrize(
    "text", ["", "{", '{"a":1} x', '{"a":1,"a":2}', '{"a":NaN}', "[" * 100_000, '{"b":{"a":1,"a":1}}']
)
def test_what_is_no_json_or_means_two_things(text: str) -> None:
    """ValueError, however deep."""
    with pytest.raises(ValueError):  # noqa: PT011  # the parser's own words
        places(text, [Pointer.parse("/a")])
