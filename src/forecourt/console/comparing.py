"""What the running config and its file say differently; the file is read again when it has changed."""

import asyncio
from collections.abc import Sequence

from forecourt.config import JobConfig
from forecourt.config_diff import changes
from forecourt.config_spelling import spelt_side
from forecourt.errors import ConfigError
from forecourt.routing import Endpoint

Told = dict[str, object]

_MOST = 100


class Comparing:
    """Compares one running config with its file."""

    def __init__(self, config: JobConfig, endpoints: Sequence[Endpoint]) -> None:
        self._config = config
        self._endpoints = endpoints
        self._known: tuple[int, int] | None = None
        self._told: Told = {"file": None, "stands": "no file", "changes": []}

    async def told(self) -> Told:
        """Return what differs; what is wrong with the file, where it cannot be compared."""
        if self._config.origin is None:
            return self._told
        return await asyncio.to_thread(self._compared)

    def _compared(self) -> Told:
        assert self._config.origin is not None, "there is a file to compare with"
        file = self._config.origin.path
        try:
            found = file.stat()
        except OSError as error:
            self._known = None
            return {"file": str(file), "stands": "unreadable", "changes": [], "why": [str(error.strerror)]}
        known = (found.st_mtime_ns, found.st_size)
        if known != self._known:
            self._told = {"file": str(file), "changes": [], **self._differences()}
            self._known = known
        return self._told

    def _differences(self) -> Told:
        try:
            other = self._config.reread()
            found = changes(self._config, other, self._endpoints)
        except ConfigError as error:
            return {"stands": "refused", "why": list(error.problems)}
        told = [
            {
                "place": change.place,
                "running": spelt_side(change.place, change.old),
                "file": spelt_side(change.place, change.new),
                "looser": list(change.looser),
            }
            for change in found
        ]
        return {"stands": "differs" if told else "same", "changes": told[:_MOST], "more": max(0, len(told) - _MOST)}
