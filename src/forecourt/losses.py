"""What could not be told to the store: one log line when that begins, and one when it is over.

A store that is slow or gone loses every settlement that it is told, at the rate of requests. Cache fills and what
becomes of grants go by lanes of their own, one of which may be well while the other is not. A lane is well again with
the first settlement that arrives after `QUIET` without a loss: one that answers now and then would log all the time.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from forecourt.stores.contract import Settlement
from forecourt.types import SECOND, Clock

logger = logging.getLogger("forecourt")

QUIET = 10 * SECOND
"""µs without a loss after which a lane is believed to be well."""


@dataclass(slots=True)
class _Lost:
    number: int = 0
    last: int = 0


class Losses:
    """What one process could not tell, by lane; `lost` and `told` take settlements that were told together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[str, _Lost] = {}

    def lost(self, settlements: Sequence[Settlement], error: Exception) -> None:
        """Take note of settlements that did not arrive; the first of a lane are logged."""
        lane = _lane(settlements)
        if lane not in self._lanes:
            kinds = ", ".join(sorted({settlement.kind for settlement in settlements}))
            logger.warning("settlements lost (%s): %s; what was granted ends with its lease", kinds, error)
        losing = self._lanes.setdefault(lane, _Lost())
        losing.number += len(settlements)
        losing.last = self._clock.now()

    def told(self, settlements: Sequence[Settlement]) -> None:
        """Take note of settlements that arrived."""
        if not self._lanes:
            return
        lane = _lane(settlements)
        losing = self._lanes.get(lane)
        if losing is not None and self._clock.now() - losing.last >= QUIET:
            del self._lanes[lane]
            logger.info("settlements of %s arrive again; %d were lost", lane, losing.number)


def _lane(settlements: Sequence[Settlement]) -> str:
    return "the cache" if settlements[0].kind.startswith("cache_") else "decisions"
