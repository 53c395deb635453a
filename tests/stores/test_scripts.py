"""Scripts are put together from fragments, each at its own place."""

import re

import pytest

from forecourt.core.operations import _registry
from forecourt.stores.scripts import _whole, arguments, compose_decision, compose_settlement, fragment, pieces


@pytest.mark.parametrize("kind", sorted(_registry))
def test_a_fragment_names_no_key_that_its_operation_lacks(kind: str) -> None:
    """Keys are counted by the operation: a fragment that names one more would reach into the next one's."""
    named = {int(number) for number in re.findall(r"\$K(\d+)", "".join(fragment(kind).values()))}
    assert named <= set(range(1, len(_registry[kind].suffixes) + 1))


def test_arguments_are_counted_by_the_highest_that_is_named() -> None:
    """Also where those before it are not needed."""
    assert arguments("token_bucket") == 5
    assert arguments("fixed_window_back") == 4
    assert arguments("throttle_back") == 6


@pytest.mark.parametrize("kind", sorted(_registry))
def test_a_fragment_sets_every_value(kind: str) -> None:
    """A question's fragment declares its verdict and each of its values, else the flat answer would end early."""
    step = _registry[kind]
    if step.group == "settle":
        assert step.arity == 0
        return
    text = fragment(kind)["compute"]
    assert all(re.search(rf"\bv{number}\$", text) for number in range(1, step.arity + 1))
    assert re.search(r"\bok\$", text)


def test_keys_and_arguments_are_counted_on() -> None:
    """The second operation's first key and argument come after those of the first, and names do not meet."""
    script = compose_decision(["token_bucket", "fixed_window"])
    assert "KEYS[2]" in script
    assert "KEYS[3]" not in script
    assert "ARGV[2]" in script
    assert "ARGV[3]" not in script
    assert "local ok_1, v1_1" in script
    assert "local ok_2, v1_2" in script
    assert "$" not in script


def test_several_keys_of_one_operation_are_counted_on() -> None:
    """An account has five keys: the next one's begin with the sixth."""
    script = compose_decision(["credits_charge", "credits_charge"])
    assert {int(number) for number in re.findall(r"KEYS\[(\d+)\]", script)} == {*range(1, 11)}


def test_a_group_stops_the_script_with_what_it_knows() -> None:
    """A refusal returns the answers up to its group, the end returns all."""
    script = compose_decision(["token_bucket", "credits_charge"])
    first = "return pack('<i8i8i8i8i8', ok_1, v1_1, v2_1, v3_1, v4_1)"
    assert script.index(first) < script.index("if not (ok_2 == 1) then")
    assert script.endswith("v4_2)")


def test_settlements_only_write() -> None:
    """A settlement's script takes note of each, at its own place, and answers nothing."""
    script = compose_settlement(["token_bucket_back", "fixed_window_back"])
    assert "GET', KEYS[1])" in script
    assert "GET', KEYS[2])" in script
    assert "ARGV[9]" in script
    assert "return" not in script


def test_given_time_is_for_tests() -> None:
    """By default the time is the server's; given, it is the last argument."""
    assert "TIME" in compose_decision(["token_bucket"])
    given = compose_decision(["token_bucket"], given_time=True)
    assert "TIME" not in given
    assert "ARGV[#ARGV]" in given
    assert "ARGV[#ARGV]" in compose_settlement(["token_bucket_back"], given_time=True)


def test_mistakes_are_told_by_name() -> None:
    """An unknown kind, questions out of order, and settlements among questions cannot be composed."""
    with pytest.raises(KeyError, match="nonsense"):
        compose_decision(["nonsense"])
    with pytest.raises(ValueError, match="out of order: credits_charge, token_bucket"):
        compose_decision(["credits_charge", "token_bucket"])
    with pytest.raises(ValueError, match="not all of these are settlements: token_bucket"):
        compose_settlement(["token_bucket"])
    with pytest.raises(FileNotFoundError):
        fragment("nonsense")


def test_a_script_looks_up_only_what_it_uses() -> None:
    """A bucket needs no digits and no function for milliseconds, unless the macro does not understand what it is of."""
    first, *_ = compose_decision(["token_bucket"]).splitlines()
    assert first.startswith("local call, pack, parse, floor, ceil, min, max = redis.call,")
    assert "px" not in compose_decision(["token_bucket"])
    assert ", int = redis.call, " in compose_decision(["lease"])
    deep = _whole(["call('PEXPIRE', KEYS[1], px(f(g(h(1)))))"], given_time=False)
    assert deep.splitlines()[0].endswith("function(us) return math.max(1, math.ceil(us / 1000)) end")


def test_answers_with_text_are_no_numbers_in_one_piece() -> None:
    """One operation with text makes a table of the whole answer."""
    assert "return {ok_1" in compose_decision(["token_bucket", "idempotency_claim"])
    assert "return pack(" in compose_decision(["token_bucket", "credits_charge"])


@pytest.mark.parametrize("kind", sorted(kind for kind, step in _registry.items() if step.group == "settle"))
def test_settlements_take_their_arguments_one_by_one(kind: str) -> None:
    """An undo is sent without its trip, as keys and arguments: none of them may be in a piece with others."""
    assert pieces(kind) == arguments(kind)
