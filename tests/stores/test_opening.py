"""From a store's URL to a store."""

import sys

import pytest

from forecourt import ConfigError
from forecourt.stores.memory import MemoryStore
from forecourt.stores.opening import store_at
from forecourt.testing import FakeClock


def test_memory_is_a_store_of_this_process() -> None:
    """Two of them share nothing."""
    stores = [store_at("memory://", FakeClock()) for _ in range(2)]
    assert all(isinstance(store, MemoryStore) for store in stores)
    assert stores[0] is not stores[1]


@pytest.mark.parametrize("url", ["redis://:q7q@host", "valkeys+cluster://u:q7q@host"])
def test_a_client_that_is_not_installed_is_said_with_what_to_install(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the extra's name; nothing of the URL but its scheme."""
    monkeypatch.setitem(sys.modules, "forecourt.stores.redis.client", None)
    with pytest.raises(ConfigError) as caught:
        store_at(url, FakeClock())
    scheme = url.partition(":")[0]
    assert str(caught.value) == f"store: {scheme}: needs the Redis client: pip install 'forecourt[redis]'"
