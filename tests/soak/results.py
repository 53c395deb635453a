"""What a soak shows."""

from typing import NamedTuple


class Result(NamedTuple):
    """One thing that was tried: what, how much of it, what came of it, and whether that is as it must be."""

    what: str
    size: str
    outcome: str
    good: bool
