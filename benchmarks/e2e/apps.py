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


def _ours(url: str, *, on_server: bool) -> ASGIApp:
    from benchmarks import ours

    flood = {"limit": ours.NEVER_FULL, "window": 1}
    return ours.protected(ours.config(ours.admitting(3), url if on_server else None, flood_guard=flood))


APPS: dict[str, Callable[[str], Any]] = {
    "bare ASGI": lambda _url: bare(),
    "FastAPI alone": lambda _url: fastapi(),
    "typical assembly": _assembly,
    "forecourt, memory": partial(_ours, on_server=False),
    "forecourt, Valkey": partial(_ours, on_server=True),
}


def make() -> ASGIApp:
    """Return the app; a factory for `uvicorn --factory` and `granian --factory`."""
    app: ASGIApp = APPS[os.environ["BENCH_APP"]](os.environ["BENCH_STORE"])
    return app
