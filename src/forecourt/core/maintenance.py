"""Maintenance: which endpoints an operator's switch is about, and which switch holds at an instant."""

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple


class Switch(NamedTuple):
    """What is in maintenance: a name or glob; until when, in µs since the epoch (None: until it is taken back); why."""

    glob: str
    until: int | None = None
    why: str = ""

    def means(self, endpoint: str) -> bool:
        """Return whether it is about an endpoint of this name."""
        return _pattern(self.glob).fullmatch(endpoint) is not None

    def holds(self, now: int) -> bool:
        """Return whether it has not ended."""
        return self.until is None or now < self.until


def longest(switches: Iterable[Switch], now: int) -> Switch | None:
    """Return the switch that holds longest, one without an end before all others; None where none holds."""
    holding = [each for each in switches if each.holds(now)]
    return max(holding, key=lambda each: (each.until is None, each.until or 0), default=None)


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))
