"""The server's lifespan, with room around the app's own."""

from collections.abc import Callable

import pytest

from forecourt.errors import ConfigError
from forecourt.lifespan import Lifespan
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

SCOPE: Scope = {"type": "lifespan"}

SENT: list[list[Message]] = []
"""What the server was sent, lifespan by lifespan."""


async def protocol_app(_: Scope, receive: Receive, send: Send) -> None:
    """An app that answers the protocol."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def raising_app(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """An app that knows HTTP only."""
    raise RuntimeError("http only")


async def silent_app(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """An app that returns from what it does not know."""


async def deaf_app(_scope: Scope, receive: Receive, _send: Send) -> None:
    """An app that reads the first message and returns."""
    await receive()


async def run(app: ASGIApp, step: Callable[[str], None] = lambda _: None) -> tuple[list[str], list[Message]]:
    """Run a whole lifespan; return the order of steps and messages, and what the server was sent."""
    order: list[str] = []
    sent: list[Message] = []
    SENT.append(sent)
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Message:
        return {"type": next(messages)}

    async def send(message: Message) -> None:
        order.append(message["type"])
        sent.append(message)

    def noted(name: str) -> Callable[[Scope], object]:
        async def take(_: Scope) -> None:
            order.append(name)
            step(name)

        return take

    lifespan = Lifespan(app, noted("start"), noted("ready"), noted("stop"))  # type: ignore[arg-type]  # coroutines
    try:
        await lifespan(SCOPE, receive, send)
    except ConfigError:
        order.append("raised")
    return order, sent


@pytest.mark.parametrize("app", [protocol_app, raising_app, silent_app, deaf_app])
async def test_ours_opens_before_and_closes_after_the_apps(app: ASGIApp) -> None:
    """The store is open before the app starts and closed after it ended, whether or not the app knows lifespans."""
    order, _ = await run(app)
    assert order == ["start", "ready", "lifespan.startup.complete", "stop", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("failing", ["start", "ready"])
async def test_a_config_that_does_not_fit_stops_the_server_with_its_text(failing: str) -> None:
    """The server hears `startup.failed` once, in our words; what was opened is closed; the error is raised."""

    def step(name: str) -> None:
        if name == failing:
            raise ConfigError("endpoint 'x' does not exist")

    order, sent = await run(protocol_app, step)
    assert sent == [{"type": "lifespan.startup.failed", "message": "endpoint 'x' does not exist"}]
    assert order[-2:] == ["lifespan.startup.failed", "raised"]
    assert ("stop" in order) == (failing == "ready")


async def test_an_app_that_repeats_our_failure_is_not_heard_twice() -> None:
    """Starlette sends `startup.failed` with a traceback when `send` raises: the server gets ours alone."""

    async def starlette_like(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await send({"type": "lifespan.startup.complete"})
        except BaseException:
            await send({"type": "lifespan.startup.failed", "message": "Traceback …"})
            raise

    def step(name: str) -> None:
        if name == "ready":
            raise ConfigError("wrong")

    _, sent = await run(starlette_like, step)
    assert sent == [{"type": "lifespan.startup.failed", "message": "wrong"}]


async def test_an_app_that_fails_to_start_closes_the_store() -> None:
    """The app's own failure reaches the server, and nothing of ours stays open."""

    async def failing(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    order, sent = await run(failing)
    assert order == ["start", "stop", "lifespan.startup.failed"]
    assert sent[0]["message"] == "no database"


async def test_a_failure_that_is_no_config_error_names_its_kind() -> None:
    """A store that cannot open stops the server too: its kind and its text, and the error is raised."""

    def step(name: str) -> None:
        if name == "start":
            raise OSError("no route to host")

    with pytest.raises(OSError, match="no route"):
        await run(protocol_app, step)
    sent = SENT[-1]
    assert sent == [{"type": "lifespan.startup.failed", "message": "OSError: no route to host"}]


async def test_other_messages_pass() -> None:
    """What a later version of the protocol may say between app and server is theirs."""

    async def talking(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.extension"})
        await protocol_app(scope, receive, send)

    order, _ = await run(talking)
    assert order[:3] == ["lifespan.extension", "start", "ready"]


async def test_an_app_that_breaks_while_running_is_not_answered_for() -> None:
    """An exception after startup is the app's, and goes to the server."""

    async def breaking(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"):
        await run(breaking)
