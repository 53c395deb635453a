"""What messages say about caching: Cache-Control (RFC 9111 §5.2), targeted fields (RFC 9213), Pragma (§5.4).

Directives are kept as a table of lower-case names to arguments (None: none was given). What is not understood is
kept too and means nothing (RFC 9111 §5.2.3).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

Directives = Mapping[str, str | None]
Header = tuple[bytes, bytes]

NONE: Directives = {}

OWN_TARGET = b"forecourt-cache-control"
"""The field that speaks to us alone; whatever stands downstream does not know it."""

TARGETS = (OWN_TARGET, b"cdn-cache-control")
"""The target list (RFC 9213 §2.2), most specific first."""

MOST_SECONDS = 2**31
"""RFC 9111 §1.2.2: a delta-seconds beyond this counts as this."""

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_DIRECTIVE = re.compile(rf'\s*({_NAME})(?:=(?:({_NAME})|"((?:[^"\\]|\\.)*)"))?\s*(?:,|$)')
_SKIPPED = re.compile(r"[^,]*(?:,|$)")
_MEMBER = re.compile(
    r'[ \t]*([a-z*][a-z0-9_.*-]*)(?:=(\?[01]|-?\d{1,15}|"(?:[^"\\]|\\["\\])*"|[A-Za-z*][^,; \t]*))?'
    r"(?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=(?:[^,;\"]*|\"[^\"]*\"))?)*[ \t]*(?:,|$)"
)

_SMALLEST = frozenset({"max-age", "s-maxage", "min-fresh"})


def values(headers: Iterable[Header], name: bytes) -> list[str]:
    """Return the values of a field, one for each line of it."""
    return [value.decode("latin-1") for field, value in headers if field == name]


def cache_control(lines: Sequence[str]) -> Directives:
    """Read Cache-Control; of a directive that is given twice the stricter counts.

    RFC 9111 §4.2.1: with more than one value present, "either the first occurrence should be used or the response
    should be considered stale": the smaller number is never fresher than either. §5.2: names are compared
    case-insensitively, and arguments may be tokens or quoted strings.
    """
    found: dict[str, str | None] = {}
    for line in lines:
        at = 0
        while at < len(line):
            match = _DIRECTIVE.match(line, at)
            if match is None:
                skipped = _SKIPPED.match(line, at)
                at = skipped.end() if skipped else len(line)
                continue
            at = match.end()
            name, token, quoted = match[1].lower(), match[2], match[3]
            argument = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[name] = _stricter(name, found[name], argument) if name in found else argument
    return found


def _stricter(name: str, first: str | None, second: str | None) -> str | None:
    """Join two occurrences: the smaller time, all the fields; a bare `no-cache` or `private` is the stricter form."""
    if name in _SMALLEST:
        return first if (seconds(first) or 0) <= (seconds(second) or 0) else second
    if name in ("no-cache", "private") and first is not None and second is not None:
        return f"{first},{second}"
    return None if name in ("no-cache", "private") else first


def targeted(headers: Iterable[Header]) -> Directives | None:
    """Return the directives of the first targeted field that is valid and not empty, None where there is none.

    RFC 9213 §2.1: such a field is a Structured Fields dictionary, and a cache that uses it "MUST ignore" Cache-Control
    and Expires. §2.2: one that cannot be parsed or is empty is skipped.
    """
    fields = list(headers)
    for target in TARGETS:
        lines = values(fields, target)
        found = _dictionary(", ".join(lines)) if lines else None
        if found:
            return found
    return None


def _dictionary(text: str) -> Directives | None:
    """Parse a dictionary (RFC 9651 §4.2.2), None where it is not one; a member that is `?0` is as good as absent."""
    found: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        match = _MEMBER.match(text, at)
        if match is None:
            return None
        name, value = match[1], match[2]
        at = match.end()
        if value == "?0":
            found.pop(name, None)
        elif value is None or value == "?1":
            found[name] = None
        else:
            found[name] = value.strip('"')
    return found


def response_directives(headers: Sequence[Header]) -> tuple[Directives, bool]:
    """Return what a response says, and whether it said so in a targeted field (then Expires does not count)."""
    aimed = targeted(headers)
    if aimed is not None:
        return aimed, True
    return cache_control(values(headers, b"cache-control")), False


def request_directives(headers: Sequence[Header]) -> Directives:
    """Return what a request says.

    RFC 9111 §5.4: where Cache-Control is absent, `Pragma: no-cache` is treated as `Cache-Control: no-cache`.
    """
    lines = values(headers, b"cache-control")
    if lines:
        return cache_control(lines)
    if any("no-cache" in cache_control([line]) for line in values(headers, b"pragma")):
        return {"no-cache": None}
    return NONE


def seconds(argument: str | None) -> int | None:
    """Read delta-seconds (RFC 9111 §1.2.2): None when it is no such number, at most 2^31."""
    if argument is None or not argument.isascii() or not argument.isdigit():
        return None
    return min(int(argument[:12]), MOST_SECONDS)


def field_names(argument: str) -> frozenset[bytes]:
    """Return the field names of `no-cache="…"` or `private="…"` in lower case (RFC 9111 §5.2.2.4, §5.2.2.7)."""
    return frozenset(name.strip().lower().encode("latin-1") for name in argument.split(",") if name.strip())
