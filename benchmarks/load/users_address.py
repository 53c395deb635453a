"""Connections from one address of this machine, so that each user is a client of its own."""

from typing import Any

from requests.adapters import HTTPAdapter

BURST = 14
"""Calls of one client at once, on as many connections, so that every worker gets some."""


class FromAddress(HTTPAdapter):
    """Connects from one address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__(pool_connections=1, pool_maxsize=BURST, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Give the pool its address."""
        super().init_poolmanager(*args, **options, source_address=(self._address, 0))
