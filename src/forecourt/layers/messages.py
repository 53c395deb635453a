"""Which of an app's messages begin a response, and which is the last."""

from forecourt.types import Message

STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
"""Messages with a status."""

BEGINNINGS = STARTS | {"websocket.accept"}
"""Messages after which nothing else can be answered."""

GONE = frozenset({"http.disconnect", "websocket.disconnect"})
"""What is received when the client has left."""

_BODIES = frozenset(
    {
        "http.response.body",
        "http.response.pathsend",
        "http.response.zerocopysend",
        "websocket.http.response.body",
    }
)


def is_last(message: Message, *, trailers: bool) -> bool:
    """Return whether nothing follows this message; `trailers`: the start announced some."""
    kind = message["type"]
    if kind in _BODIES:
        return not trailers and not message.get("more_body", False)
    if kind == "http.response.trailers":
        return not message.get("more_trailers", False)
    return bool(kind == "websocket.close")


def is_event_stream(start: Message) -> bool:
    """Return whether a response that begins so may never end."""
    return any(name == b"content-type" and b"text/event-stream" in value for name, value in start.get("headers") or ())
