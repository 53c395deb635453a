"""Media types: which of them a range means, and which of them a caller accepts (RFC 9110 §8.3, §12.5.1)."""

from collections.abc import Iterable

MOST_RANGES = 64
"""Ranges of one Accept field that are looked at."""


def media_type(value: bytes) -> str:
    """Return the media type of a Content-Type, without parameters, in lower case."""
    return value.partition(b";")[0].strip().lower().decode("latin-1")


def within(kind: str, ranges: Iterable[str]) -> bool:
    """Return whether a media type is meant by one of these ranges."""
    return any(_means(each, kind) for each in ranges)


def acceptable(accept: bytes, kinds: Iterable[str]) -> bool:
    """Return whether one of these media types is accepted; the most specific range that means one decides.

    What cannot be read of the field means nothing; a field of nothing but that accepts nothing.
    """
    ranges = [_range(part) for part in accept.split(b",", MOST_RANGES)[:MOST_RANGES]]
    return any(_weight(kind, ranges) > 0 for kind in kinds)


def _means(media_range: str, kind: str) -> bool:
    if media_range in ("*/*", kind):
        return True
    return media_range.endswith("/*") and kind.startswith(media_range[:-1])


def _weight(kind: str, ranges: list[tuple[str, float]]) -> float:
    meant = [(each.count("*"), -weight) for each, weight in ranges if _means(each, kind)]
    return -min(meant)[1] if meant else 0


def _range(part: bytes) -> tuple[str, float]:
    name, *parameters = part.split(b";")
    weight = 1.0
    for each in parameters:
        key, _, value = each.strip().partition(b"=")
        if key.strip().lower() == b"q":
            weight = _quality(value.strip())
    return name.strip().lower().decode("latin-1"), weight


def _quality(value: bytes) -> float:
    try:
        quality = float(value)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
