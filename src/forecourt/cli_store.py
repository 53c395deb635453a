"""What commands do in a service's own store: open the store of an app or a policy file, act, close it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from forecourt.cli_app import imported
from forecourt.config import EndpointLike, JobConfig
from forecourt.errors import ConfigError
from forecourt.inspection import inspect
from forecourt.stores.contract import Store
from forecourt.stores.opening import store_at
from forecourt.types import SystemClock

Act = Callable[[JobConfig, list[EndpointLike] | None, Store], Awaitable[str]]
"""(config, the app's endpoints where there is an app, its open store) → what to print."""


def target_of(target: str) -> tuple[JobConfig, list[EndpointLike] | None]:
    """Return the config of `module:app` or of a policy file, and the app's endpoints where there is an app."""
    if Path(target).suffix in (".toml", ".yaml", ".yml", ".json"):
        return JobConfig.from_file(target), None
    inspection = inspect(imported(target))
    return inspection.config, [endpoint for endpoint, _ in inspection.endpoints]


def in_its_store(target: str, what: str, act: Act) -> str:
    """Act in the store of an app or a policy file; ConfigError where that is a process's own memory."""
    config, endpoints = target_of(target)
    if config.store.startswith("memory:"):
        raise ConfigError(f"store: {what} in memory:// are their process's own; name the service's store")
    return asyncio.run(_done(config, endpoints, act))


async def _done(config: JobConfig, endpoints: list[EndpointLike] | None, act: Act) -> str:
    store = store_at(config.store, SystemClock())
    await store.open()
    try:
        return await act(config, endpoints, store)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    finally:
        await store.close()
