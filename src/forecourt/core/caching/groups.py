"""Groups that responses name themselves (RFC 9875): Lists of Strings (RFC 9651 §4.2), compared character by character.

The standard lets a cache ignore such fields; what is ignored of `Cache-Groups` would be stale after an invalidation. So
an answer whose groups cannot be read, or are more than `MOST_GROUPS`, is not kept at all.
"""

import re
from collections.abc import Iterable

from forecourt.core.caching.directives import Header, values

GROUPS = b"cache-groups"
INVALIDATED = b"cache-group-invalidation"

MOST_GROUPS = 128
"""Members of a field; §2 asks for at least 32."""

_TEXT = r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'
_PARAMETER = r';[ ]*[a-z*][a-z0-9_.*-]*(?:=(?:%?"(?:[^"\\]|\\["\\])*"|[^\s,;"]+))?'
_MEMBER = re.compile(rf"[ \t]*{_TEXT}(?:{_PARAMETER})*[ \t]*(,|$)")


def members(headers: Iterable[Header], name: bytes) -> tuple[str, ...] | None:
    """Return the groups that a field names, in all its lines; None where it is malformed or too long.

    Unknown parameters are ignored (§2); a member that is no String spoils the field (RFC 9651 §1.1).
    """
    lines = values(headers, name)
    text = ", ".join(lines).strip(" ")
    found: list[str] = []
    at, more = 0, bool(text)
    while more:
        match = _MEMBER.match(text, at)
        if match is None or len(found) == MOST_GROUPS:
            return None
        found.append(re.sub(r"\\(.)", r"\1", match[1]))
        at, more = match.end(), match[2] == ","
    return tuple(found)
