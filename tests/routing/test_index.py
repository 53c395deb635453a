"""The index leaves nothing out, and proposes few."""

import re
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import compile_path

from forecourt.routing.index import ANY_PATH, Index, segments_of
from tests.routing.apps import TEXTS, templates


class Placed(NamedTuple):
    """A template in its place."""

    order: int
    regex: re.Pattern[str]


def index_of(*written: str) -> tuple[Index[Placed], list[Placed]]:
    """Return an index of templates, and its items."""
    compiled = [compile_path(template) for template in written]
    items = [Placed(order, regex) for order, (regex, _, _) in enumerate(compiled)]
    keys = [segments_of(path_format, regex, convertors) for regex, path_format, convertors in compiled]
    return Index(list(zip(keys, items, strict=True))), items


PATHS = st.lists(st.sampled_from(TEXTS), max_size=6).map(lambda pieces: "/" + "/".join(pieces))


@given(st.lists(templates(), max_size=12), PATHS, st.sampled_from(("", "\n", "/", "/\n")))
def test_what_matches_is_proposed_in_order(written: list[str], path: str, end: str) -> None:
    """Every template whose regular expression matches a path is found for it, each once, in order."""
    index, items = index_of(*written)
    found = index.find(path + end)
    assert {item for item in items if item.regex.match(path + end)} <= set(found)
    assert sorted(set(found)) == list(found)


def test_few_are_proposed_among_a_thousand() -> None:
    """What a request costs does not depend on the number of routes."""
    index, _ = index_of(*(f"/{kind}/{n}/{{id}}" for n in range(500) for kind in ("a", "b")), "/{any}/7/x")
    assert [len(index.find(path)) for path in ("/a/7/1", "/b/499/1", "/c/1/1", "/a/7/x")] == [1, 1, 0, 2]


def test_a_long_path_is_cut_no_further_than_templates_reach() -> None:
    """A path of nothing but slashes costs no list of them, and misses nothing."""
    index, items = index_of("/a/{rest:path}", "/{x}/{y}")
    assert index.find("/a" + 10_000 * "/") == (items[0],)
    assert index.find("/b" + 10_000 * "/") == ()


def test_templates_of_unknown_shape_are_proposed_always() -> None:
    """A template without a slash (a host's, FastAPI's empty path), or one that another expression stands for."""
    assert segments_of(*compile_path("example.org")[1::-1], {}) == ANY_PATH
    regex, path_format, convertors = compile_path("/a/{b}")
    assert segments_of(path_format, regex, {}) == ANY_PATH
    assert segments_of(path_format, re.compile("^/a/.*$"), convertors) == ANY_PATH
    index, items = index_of("", "/a")
    assert index.find("") == (items[0],)
    assert index.find("*") == (items[0],)
