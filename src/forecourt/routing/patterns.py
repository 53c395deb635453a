"""Endpoints by pattern: `{"get_record": "GET /records/{record_id:int}"}`, in Starlette's path syntax.

In a Starlette app a pattern gives one route another name. In any other ASGI app, whose routes cannot be
read, patterns are all that is known: they are tried in the order written, and what none of them matches
is no endpoint (`{"rest": "/{path:path}"}`, written last, makes it one).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from http import HTTPMethod
from typing import NamedTuple

from starlette._utils import get_route_path
from starlette.convertors import CONVERTOR_TYPES
from starlette.routing import compile_path

from forecourt.errors import ConfigError
from forecourt.routing.candidates import Leaf
from forecourt.routing.endpoints import UNROUTED, Endpoint, Resolution
from forecourt.routing.index import Index, Segments, segments_of
from forecourt.types import Scope

_PARAM = re.compile("{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?}")
_METHODS = (*(method.value for method in HTTPMethod), "QUERY")
_FORM = "write '/path/{param:int}', with a method before it or without"


class Pattern(NamedTuple):
    """One entry of `routes`: `method` None is any; `path` is its template without convertors."""

    name: str
    method: str | None
    template: str
    path: str

    @property
    def text(self) -> str:
        """Return the pattern as one line."""
        return spelt(self.method, self.template)


def spelt(method: str | None, template: str) -> str:
    """Return a method and a template as a pattern is written."""
    return template if method is None else f"{method} {template}"


def parsed(patterns: Mapping[str, str], known: Sequence[str]) -> list[Pattern]:
    """Return the patterns, compiled; `known` are the app's routes as patterns, to name the nearest one.

    Raises ConfigError with one problem for each malformed pattern.
    """
    faults = {name: _fault(text) for name, text in patterns.items()}
    problems = [
        f"routes: endpoint {name!r}: {patterns[name]!r} {fault}{_nearest(patterns[name], known)}"
        for name, fault in faults.items()
        if fault is not None
    ]
    if problems:
        raise ConfigError(*problems)
    return [_compiled(name, text) for name, text in patterns.items()]


def _compiled(name: str, text: str) -> Pattern:
    *method, template = text.split()
    _, path, _ = compile_path(template)
    return Pattern(name, method[0].upper() if method else None, template, path)


def _fault(text: str) -> str | None:
    """Return what is wrong with a pattern as the end of a sentence, None for nothing."""
    *methods, template = text.split() or [""]
    if len(methods) > 1 or not template.startswith("/"):
        return f"is no pattern: {_FORM}"
    for method in methods:
        if method.upper() not in _METHODS:
            return f"has no HTTP method {method!r}{_nearest(method.upper(), _METHODS)}"
    params = _PARAM.findall(template)
    for _, convertor in params:
        if convertor and convertor not in CONVERTOR_TYPES:
            return f"has no convertor {convertor!r}{_nearest(convertor, CONVERTOR_TYPES)}"
    if set("{}") & set(_PARAM.sub("", template)):
        return f"has a brace that belongs to no parameter: {_FORM}"
    names = [name for name, _ in params]
    repeated = [name for name in names if names.count(name) > 1]
    return f"names the parameter {repeated[0]!r} twice" if repeated else None


def _nearest(word: str, known: Iterable[str]) -> str:
    """Return a question about the nearest known word, empty where none is near."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def renamed(patterns: Mapping[str, str], endpoints: Sequence[Endpoint], written: Sequence[str]) -> dict[int, str]:
    """Return which endpoints, by position, the patterns call by which name.

    `written` are the endpoints' templates with convertors. Raises ConfigError for a pattern that is
    malformed or names no route, several, or one that another pattern names.
    """
    routes = [
        spelt(method, template)
        for endpoint, template in zip(endpoints, written, strict=True)
        for method in (*sorted(endpoint.methods or ()), None)
    ]
    names: dict[int, str] = {}
    problems: list[str] = []
    for pattern in parsed(patterns, routes):
        found = _named_by(pattern, endpoints, written)
        if len(found) == 1 and found[0] not in names:
            names[found[0]] = pattern.name
        else:
            problems.append(f"routes: endpoint {pattern.name!r}: {_why_not(pattern, found, names, endpoints, routes)}")
    if problems:
        raise ConfigError(*problems)
    return names


def _named_by(pattern: Pattern, endpoints: Sequence[Endpoint], written: Sequence[str]) -> list[int]:
    """Return the positions of the endpoints with this template and method.

    A pattern without convertors also stands for a template with them. One without a method stands for
    the route that takes any, and where there is none, for all at that template.
    """
    bare = pattern.template == pattern.path
    at = [
        position
        for position, endpoint in enumerate(endpoints)
        if (endpoint.path == pattern.path if bare else written[position] == pattern.template)
    ]
    if pattern.method is None:
        return [position for position in at if endpoints[position].methods is None] or at
    return [position for position in at if pattern.method in (endpoints[position].methods or ())]


def _why_not(
    pattern: Pattern,
    found: Sequence[int],
    names: Mapping[int, str],
    endpoints: Sequence[Endpoint],
    routes: Sequence[str],
) -> str:
    """Return why a pattern does not name one route."""
    if not found:
        return f"{pattern.text!r} is no route of the app{_nearest(pattern.text, routes)}"
    if len(found) == 1:
        return f"{pattern.text!r} is already named {names[found[0]]!r}"
    several = ", ".join(
        f"{endpoints[each].name!r} ({', '.join(sorted(endpoints[each].methods or ())) or 'any method'})"
        for each in found
    )
    return f"{pattern.text!r} is {len(found)} routes: {several}"


class PatternRouter:
    """The patterns of an app that shows no routes.

    A pattern with GET answers HEAD too, and slashes that are repeated or last do not count: frameworks
    differ in both, and no request that an app runs under an endpoint may miss its pattern.
    """

    __slots__ = ("_indexes", "endpoints")

    def __init__(self, patterns: Mapping[str, str]) -> None:
        compiled = parsed(patterns, ())
        self.endpoints = [_endpoint(pattern) for pattern in compiled]
        placed = [_leaf(*each) for each in zip(range(len(compiled)), compiled, self.endpoints, strict=True)]
        self._indexes = {
            protocol: Index(
                [
                    item
                    for item, endpoint in zip(placed, self.endpoints, strict=True)
                    if endpoint.protocol in (protocol, "any")
                ]
            )
            for protocol in ("http", "websocket")
        }

    def resolve(self, scope: Scope) -> Resolution:
        """Return the first endpoint whose pattern matches."""
        path = get_route_path(scope)
        return self._at(path, scope) or self._at(_tidy(path), scope) or UNROUTED

    def _at(self, path: str, scope: Scope) -> Resolution | None:
        for leaf in self._indexes[scope["type"]].find(path):
            found = leaf.full(scope, path)
            if found is not None:
                return found
        return None


def _leaf(order: int, pattern: Pattern, endpoint: Endpoint) -> tuple[Segments, Leaf]:
    regex, path_format, convertors = compile_path(_tidy(pattern.template))
    return segments_of(path_format, regex, convertors), Leaf(order, regex, convertors, endpoint)


def _tidy(path: str) -> str:
    """Return a path without repeated and last slashes."""
    return re.sub("/+", "/", path).rstrip("/") or "/"


def _endpoint(pattern: Pattern) -> Endpoint:
    if pattern.method is None:
        return Endpoint(pattern.name, pattern.path, methods=None, protocol="any", handler=None)
    methods = {pattern.method, "HEAD"} if pattern.method == "GET" else {pattern.method}
    return Endpoint(pattern.name, pattern.path, frozenset(methods), protocol="http", handler=None)
