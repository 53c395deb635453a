"""The endpoint that Prometheus scrapes: an ASGI app to mount, `app.mount("/metrics", config.metrics, name="metrics")`.

It is under the policies of the endpoint it is mounted as, like any other: give it `security`, or a limit. It answers
GET and HEAD in the text format, or as OpenMetrics where the Accept field asks for it; 503 while no metrics layer of
its config is installed.
"""

import asyncio
from collections.abc import Awaitable, Callable

from forecourt.responses import TYPES, Problem, Refusal
from forecourt.telemetry.counting import Counting, Render
from forecourt.types import ASGIApp, Receive, Scope, Send

NOT_COUNTED = Problem(503, "Service Unavailable", TYPES + "no-metrics", "No metrics layer of this config is installed.")
NOT_ALLOWED = Problem(405, "Method Not Allowed", detail="Metrics are read with GET.")


class MetricsEndpoint:
    """Answers with what the metrics layers of one config have counted."""

    def __init__(self) -> None:
        self.render: Render | None = None
        """Set by the stack."""
        self.families: Counting | None = None
        """What they count with, shared by all stacks of the config in this process; set by the first."""
        self.asks: dict[str, Callable[[], Awaitable[None]]] = {}
        """What asks others how they stand, by name, before anything is rendered; each bounds its own time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Render in a thread, as that may take milliseconds."""
        if scope["type"] != "http" or self.render is None:
            return await Refusal(NOT_COUNTED)(scope, receive, send)
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            allow = Refusal(NOT_ALLOWED, headers=((b"allow", b"GET, HEAD"),))
            return await allow(scope, receive, send)
        for ask in self.asks.values():
            await ask()
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
        body, media_type = await asyncio.to_thread(self.render, accept)
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def endpoint_of(metrics: ASGIApp) -> MetricsEndpoint:
    """Return the endpoint that a config's `metrics` is."""
    assert isinstance(metrics, MetricsEndpoint)
    return metrics
