"""The request as idempotency reads it: whoever reads, it is read once."""

import asyncio

from forecourt.core.idempotency_rules import Fingerprint
from forecourt.layers.idempotency_request import ReadRequest
from forecourt.types import Message


class Sender:
    """Sends these messages, each after a turn of the loop, and then that the client has left."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)

    async def __call__(self) -> Message:
        """Return the next."""
        await asyncio.sleep(0)
        return self.messages.pop(0) if self.messages else {"type": "http.disconnect"}


def part(body: bytes, *, more: bool) -> Message:
    """Return a message with a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def test_two_who_read_the_rest_read_it_once() -> None:
    """One reads at a time, and the other finds that nothing is left."""
    request = ReadRequest(Sender(part(b"a", more=True), part(b"b", more=False)), Fingerprint([], of_body=True))
    assert all(await asyncio.gather(request.rest(), request.rest(), request.rest()))
    expected = Fingerprint([], of_body=True)
    expected.feed(b"ab")
    assert request.fingerprint == expected.digest()
    assert not request.gone


async def test_what_comes_after_the_body_is_no_part_of_it() -> None:
    """A server that goes on after the end changes no fingerprint; that the client left is seen."""
    told: list[bytes] = []
    sender = Sender(part(b"a", more=False), part(b"b", more=False))
    request = ReadRequest(sender, Fingerprint([], of_body=True), told.append)
    assert [(await request()).get("body") for _ in range(3)] == [b"a", b"b", None]
    assert told == [request.fingerprint]
    assert request.gone
