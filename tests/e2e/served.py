"""An app on a real port, served from a thread while the test drives a browser."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from forecourt.types import ASGIApp


@contextmanager
def served(app: ASGIApp, port: int) -> Iterator[None]:
    """Serve it at this port of loopback until the block ends."""
    settings = uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    late = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < late, "the service did not start within 30 s"
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)
