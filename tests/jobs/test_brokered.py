"""A queue whose jobs wait at a broker: what happens between broker and board, and to whom."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import pytest

from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.jobs.board import Board
from forecourt.jobs.brokered import BrokeredQueue, Message
from forecourt.jobs.queue import Ending, Held
from forecourt.stores.redis.client import Client
from forecourt.testing import FakeClock
from tests.callers import settle_down
from tests.jobs.queues import job
from tests.servers import Valkey

DONE = Ending("done", b"result")
FAILED = Ending("failed", b"answer", "it failed")


class Relay:
    """A broker in this process, whose messages a test loses, repeats and refuses."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.coming: list[Message] = []
        self.sent: list[Message] = []
        self.settled: list[bytes] = []
        self.refused: list[bytes] = []
        self.died: list[bytes] = []
        self.trouble: Exception | None = None
        self.loses = False

    async def open(self) -> None:
        """Nothing to connect."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def send(self, fields: Mapping[str, str], body: bytes, *, dead: bool = False) -> None:
        """Take a message, or fail; `loses`: both."""
        message = Message(str(len(self.sent)).encode(), fields, body, None)
        if self.trouble and not self.loses:
            raise self.trouble
        if dead:
            self.died.append(body)
            return
        self.sent.append(message)
        self.coming.append(message)
        self.news.set()
        if self.trouble:
            raise self.trouble

    async def arrived(self, most: int) -> list[Message]:
        """Give what is coming."""
        found, self.coming = self.coming[:most], self.coming[most:]
        if not self.coming:
            self.news.clear()
        return found

    async def settle(self, message: Message) -> None:
        """Note it."""
        self.settled.append(message.place)

    async def refuse(self, message: Message) -> None:
        """Note it."""
        self.refused.append(message.place)


class Scene:
    """Two workers' queues at one relay, and their records on one server."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.relay = Relay()
        self.one, self.other = (
            BrokeredQueue(self.relay, Board(Client(url, deadline=5), "fc", "q", clock=self.clock), self.clock)
            for _ in range(2)
        )


@pytest.fixture
async def scene(valkey: Valkey) -> AsyncIterator[Scene]:
    """Both open."""
    made = Scene(valkey.url)
    await made.one.open()
    await made.other.open()
    yield made
    await made.one.close()
    await made.other.close()


@pytest.mark.parametrize("trouble", [StoreDown("gone"), StoreOverloaded("too many")])
@pytest.mark.parametrize("loses", [False, True])
async def test_what_the_broker_did_not_take_was_never_published(
    scene: Scene, trouble: Exception, *, loses: bool
) -> None:
    """There is no job, even where the message came through after all; asked again, there is one, which runs once."""
    scene.relay.trouble, scene.relay.loses = trouble, loses
    with pytest.raises(type(trouble)):
        await scene.one.publish(job("a", most=1))
    assert await scene.one.look("a") is None
    assert await scene.one.claim(8) == []
    assert await scene.one.depth() == {"waiting": 0, "delayed": 0, "running": 0, "dead": 0}
    scene.relay.trouble = None
    assert (await scene.one.publish(job("a", most=1))).created
    assert [each.id for each in await scene.one.claim(8)] == ["a"]


async def test_a_record_without_a_message_gets_one(scene: Scene) -> None:
    """Who published it died between; whoever asks with the same id and request sends the message; others do not."""
    await scene.one.publish(job("a"))
    scene.relay.coming.clear()
    other = job("a")._replace(fingerprint="of another request")
    assert not (await scene.one.publish(other)).created
    assert scene.relay.coming == []
    assert not (await scene.one.publish(job("a"))).created
    (claimed,) = await scene.one.claim(8)
    assert not (await scene.one.publish(job("a"))).created
    assert scene.relay.coming == []
    assert await scene.one.finish("a", claimed.token, DONE) is not None


async def test_a_message_that_comes_twice_runs_one_job_once(scene: Scene) -> None:
    """While it is at work, and after its end: the second message is settled, and nothing else happens."""
    await scene.one.publish(job("a"))
    (message,) = scene.relay.coming
    (claimed,) = await scene.one.claim(8)
    scene.relay.coming = [message, message._replace(place=b"again")]
    assert await scene.one.claim(8) == []
    assert scene.relay.settled == [b"again"]
    assert await scene.one.finish("a", claimed.token, DONE) is not None
    assert scene.relay.settled == [b"again", message.place]
    scene.relay.coming = [message]
    assert await scene.other.claim(8) == []
    assert len(scene.relay.settled) == 3


async def test_a_job_whose_worker_is_cut_off_waits_for_its_lease(scene: Scene) -> None:
    """The broker gives the message to another at once, who has the job when the lease ends, not while it is kept."""
    await scene.one.publish(job("a"))
    (message,) = scene.relay.coming
    (first,) = await scene.one.claim(8)
    scene.relay.coming = [message]
    assert await scene.other.claim(8) == []
    scene.clock.advance(6)
    held = Held("a", first.token, first.lease)
    assert await scene.one.renew([held]) == frozenset()
    scene.clock.advance(6)
    assert await scene.other.claim(8) == []
    scene.clock.advance(4)
    (second,) = await scene.other.claim(8)
    assert second.attempts == 2
    assert await scene.one.finish("a", first.token, Ending("done", b"stale")) is None
    assert await scene.one.renew([held]) == {"a"}
    assert await scene.other.finish("a", second.token, DONE) is not None
    assert await scene.one.claim(8) == []
    assert await scene.one.result("a") == b"result"


async def test_a_lost_record_is_made_again_from_the_message(scene: Scene, valkey: Valkey) -> None:
    """The job runs all the same, unless its time is over by then."""
    await scene.one.publish(job("a"))
    await scene.one.publish(job("b"))
    valkey.ask("FLUSHALL")
    (claimed,) = await scene.one.claim(1)
    assert (claimed.id, claimed.envelope) == ("a", b"envelope of a")
    assert await scene.one.finish("a", claimed.token, DONE) is not None
    scene.clock.advance(1000)
    assert await scene.one.claim(1) == []
    assert len(scene.relay.settled) == 2


async def test_the_dead_are_kept_in_two_places(scene: Scene) -> None:
    """In the topic of the dead, and with their record, from which they are tried again; they stay dead where not."""
    await scene.one.publish(job("a", attempts=1))
    (claimed,) = await scene.one.claim(8)
    await scene.one.finish("a", claimed.token, FAILED)
    assert (scene.relay.died, len(scene.relay.settled)) == ([b"envelope of a"], 1)
    scene.relay.trouble = StoreDown("gone")
    with pytest.raises(StoreDown):
        await scene.one.redrive("a")
    record = await scene.one.look("a")
    assert record is not None
    assert (record.status, record.reason) == ("dead", "its message could not be sent")
    scene.relay.trouble = None
    assert await scene.one.redrive("a") is not None
    assert [each.envelope for each in await scene.one.claim(8)] == [b"envelope of a"]


async def test_a_record_that_does_not_answer_keeps_its_message(scene: Scene, valkey: Valkey) -> None:
    """The queue says that it is down, and goes on where it was."""
    await scene.one.publish(job("a"))
    board = Board(Client(valkey.url, deadline=0.1), "fc", "q", clock=scene.clock)
    hasty = BrokeredQueue(scene.relay, board, scene.clock)
    await hasty.open()
    with valkey.stalled(), pytest.raises(StoreDown):
        await hasty.claim(8)
    assert scene.relay.coming == []
    found: list[str] = []
    async with asyncio.timeout(20):
        while not found:
            scene.clock.advance(11)
            with suppress(StoreDown):
                found = [each.id for each in await hasty.claim(8)]
            await asyncio.sleep(0.01)
    assert found == ["a"]
    await hasty.close()


async def test_a_message_that_is_no_job_is_dropped(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wrote it; the log says so, without its content."""
    scene.relay.coming = [Message(b"1", {}, b"secret", None), Message(b"2", {"id": "a", "lease": "x"}, b"", None)]
    with caplog.at_level(logging.ERROR):
        assert await scene.one.claim(8) == []
    assert scene.relay.settled == [b"1", b"2"]
    assert "no job" in caplog.text
    assert "secret" not in caplog.text


async def test_a_worker_that_keeps_too_much_gives_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of jobs that others hold are kept up to a bound."""
    monkeypatch.setattr("forecourt.jobs.brokered._MOST_KEPT", 1)
    for name in ("a", "b"):
        await scene.one.publish(job(name))
    messages = list(scene.relay.coming)
    assert len(await scene.one.claim(8)) == 2
    scene.relay.coming = messages
    assert await scene.other.claim(8) == []
    assert scene.relay.refused == [messages[1].place]


async def test_idling_ends_with_news(scene: Scene) -> None:
    """At once where there is something to do; else when a message comes, or one that is kept may be asked for."""
    await scene.one.idle(0)
    idling = asyncio.ensure_future(scene.one.idle(1))
    await asyncio.sleep(0)
    await scene.one.publish(job("a"))
    await asyncio.wait_for(idling, 5)
    (claimed,) = await scene.one.claim(8)
    await scene.one.finish("a", claimed.token, FAILED)
    scene.relay.news.clear()
    idling = asyncio.ensure_future(scene.one.idle(1))
    await settle_down()
    scene.clock.advance(0.5)
    await asyncio.wait_for(idling, 5)
    await scene.one.idle(1)
    assert "1 messages kept" in repr(scene.one)


async def test_idling_passes_by_what_a_renewal_has_put_off(scene: Scene) -> None:
    """When a lease would have ended, but for its renewal, there is nothing to ask for: nobody wakes up."""
    await scene.one.publish(job("a"))
    (claimed,) = await scene.one.claim(8)
    scene.clock.advance(6)
    assert await scene.one.renew([Held("a", claimed.token, claimed.lease)]) == frozenset()
    scene.relay.news.clear()
    scene.clock.advance(4)
    idling = asyncio.ensure_future(scene.one.idle(1))
    await settle_down()
    assert not idling.done()
    scene.relay.news.set()
    await asyncio.wait_for(idling, 5)
