"""The apps that servers load: `make` returns the one that BENCH_APP names; BENCH_STORE is the Valkey's address."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.apps import bare, fastapi
from benchmarks.calls import ASGIApp


def _assembly(url: str) -> ASGIApp:
    from benchmarks.peers.assembly import parts
    from benchmarks.peers.parts import app_of

    return app_of(*parts(url))


def _ours(url: str, *, on_server: bool, cached: bool = False) -> ASGIApp:
    from benchmarks import ours
    from forecourt import Cache, EndpointPolicy

    cache = Cache(ttl=3600, partition="everyone") if cached else None
    policy = EndpointPolicy(rate_limit=ours.admitting(3), cache=cache)
    flood = {"limit": ours.NEVER_FULL, "window": 1}
    store, namespace = url if on_server else None, "hits" if cached else "e2e"
    return ours.protected(ours.settings(policy, store, flood_guard=flood, namespace=namespace))


APPS: dict[str, Callable[[str], Any]] = {
    "bare ASGI": lambda _url: bare(),
    "FastAPI alone": lambda _url: fastapi(),
    "typical assembly": _assembly,
    "forecourt, memory": partial(_ours, on_server=False),
    "forecourt, Valkey": partial(_ours, on_server=True),
    "forecourt, memory, cache hit": partial(_ours, on_server=False, cached=True),
}


def make() -> ASGIApp:
    """Return the app; a factory for `uvicorn --factory` and `granian --factory`."""
    app: ASGIApp = APPS[os.environ["BENCH_APP"]](os.environ["BENCH_STORE"])
    return app
