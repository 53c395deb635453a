"""Which routes a path can match, found by walking its segments instead of asking every route.

A template is cut at its slashes: `/records/{id}/parts` is the segments `records`, any, `parts`. All
templates of a router form one tree of segments. Walking a path down the tree takes one dict look-up a
segment, however many routes there are, and ends at the few routes whose template has that shape.

The index proposes and never decides: it may propose a route that does not match, since each is then
checked by its own regular expression, but it may leave none out that does. Hence:

- A template that cannot be cut up with certainty is proposed from its last certain segment on, for any
  rest of the path: mounts, `{x:path}`, custom convertors. A template whose regular expression is not
  the one Starlette builds for it is proposed for every path.
- `$` also matches before one newline at the end of a path, so that newline is dropped before the walk.
- Where a literal and a parameter both fit a segment, both branches are walked and merged.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Generic, NamedTuple, Protocol, TypeVar

from starlette.convertors import Convertor, FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor

_PARAM = re.compile("{([a-zA-Z_][a-zA-Z0-9_]*)}")
_WITHIN_SEGMENT = {c.regex for c in (StringConvertor, IntegerConvertor, FloatConvertor, UUIDConvertor)}


class Ordered(Protocol):
    """Something with a place in the router's order of asking."""

    @property
    def order(self) -> int:
        """Return its position among the router's routes; no two of a router share one."""
        ...


Item = TypeVar("Item", bound=Ordered)


class Segments(NamedTuple):
    """A template cut at its slashes: None stands for any segment; `whole` says that nothing follows."""

    certain: tuple[str | None, ...]
    whole: bool


ANY_PATH = Segments((), whole=False)
"""The template of a route that must be asked about every path."""


def segments_of(path_format: str, regex: re.Pattern[str], convertors: Mapping[str, Convertor[object]]) -> Segments:
    """Return the certain segments of a compiled template, `ANY_PATH` where there is no certainty."""
    if not path_format.startswith("/") or not _is_built_from(path_format, regex, convertors):
        return ANY_PATH
    certain: list[str | None] = []
    for text in path_format[1:].split("/"):
        names = _PARAM.findall(text)
        if any(convertors[name].regex not in _WITHIN_SEGMENT for name in names):
            return Segments(tuple(certain), whole=False)
        certain.append(None if names or "\n" in text else text)
    return Segments(tuple(certain), whole=True)


def _is_built_from(path_format: str, regex: re.Pattern[str], convertors: Mapping[str, Convertor[object]]) -> bool:
    """Whether the regular expression says what the template says; apps do replace it."""
    pieces = _PARAM.split(path_format)
    if not convertors.keys() >= set(pieces[1::2]):
        return False
    pieces[::2] = map(re.escape, pieces[::2])
    pieces[1::2] = [f"(?P<{name}>{convertors[name].regex})" for name in pieces[1::2]]
    return regex.pattern == f"^{''.join(pieces)}$" and regex.flags == re.UNICODE


def merged(one: Iterable[Item], other: Iterable[Item]) -> tuple[Item, ...]:
    """Return the items of both, each once, in the router's order."""
    return tuple(sorted({*one, *other}, key=attrgetter("order")))


class _Node(Generic[Item]):
    """The paths that begin alike; `ends` and `rest` are complete: ancestors' `rest` included, in order."""

    __slots__ = ("ends", "literals", "rest", "wild")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[Item]] = {}
        self.wild: _Node[Item] | None = None
        self.ends: tuple[Item, ...] = ()
        self.rest: tuple[Item, ...] = ()

    def child(self, segment: str | None) -> "_Node[Item]":
        """Return the node one segment below, created where missing."""
        if segment is not None:
            return self.literals.setdefault(segment, _Node())
        if self.wild is None:
            self.wild = _Node()
        return self.wild

    def complete(self, above: tuple[Item, ...]) -> None:
        """Add what the ancestors propose for any rest, here and below."""
        self.rest = merged(above, self.rest) if self.rest else above
        self.ends = merged(self.rest, self.ends) if self.ends else self.rest
        for child in (*self.literals.values(), *([] if self.wild is None else [self.wild])):
            child.complete(self.rest)


class Index(Generic[Item]):
    """The items that a path may concern, in the router's order, at one look-up a segment."""

    __slots__ = ("_exact", "_root", "_splits")

    def __init__(self, placed: Sequence[tuple[Segments, Item]]) -> None:
        self._root = _Node[Item]()
        for (certain, whole), item in placed:
            node = self._root
            for segment in certain:
                node = node.child(segment)
            if whole:
                node.ends += (item,)
            else:
                node.rest += (item,)
        self._root.complete(())
        # One more than the deepest template needs: what is cut off no longer matters.
        self._splits = 1 + max((len(template.certain) for template, _ in placed), default=0)
        self._exact = {
            path: _walk(self._root, path.split("/")[1:])
            for path in (_literal_path(template) for template, _ in placed)
            if path is not None
        }

    def find(self, path: str) -> tuple[Item, ...]:
        """Return all items that may match `path`, a route path that begins with a slash or is empty."""
        path = path.removesuffix("\n")
        found = self._exact.get(path)
        if found is not None:
            return found
        return _walk(self._root, path.split("/", self._splits)[1:])


def _literal_path(template: Segments) -> str | None:
    """Return the one path of a template without parameters, else None."""
    literals = [segment for segment in template.certain if segment is not None]
    if template.whole and len(literals) == len(template.certain):
        return "/" + "/".join(literals)
    return None


def _walk(node: _Node[Item], segments: Sequence[str]) -> tuple[Item, ...]:
    """Return what the tree below `node` proposes for these segments."""
    for position, segment in enumerate(segments):
        literal, wild = node.literals.get(segment), node.wild
        if literal is not None and wild is not None:
            rest = segments[position + 1 :]
            return merged(_walk(literal, rest), _walk(wild, rest))
        following = wild if literal is None else literal
        if following is None:
            return node.rest
        node = following
    return node.ends
