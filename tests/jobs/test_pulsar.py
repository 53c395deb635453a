"""The connection to a broker of Pulsar's protocol: what comes back when it, or a worker, is gone."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from forecourt.errors import ConfigError, StoreDown, StoreOverloaded
from forecourt.jobs import pulsar
from forecourt.jobs.brokered import Message
from forecourt.jobs.pulsar import Place, PulsarBroker
from forecourt.jobs.queues import queue_at
from forecourt.testing import FakeClock
from tests.brokers import Connection, Pulsar

FIELDS = {"id": "a"}


@pytest.fixture
def own_broker() -> Iterator[Pulsar]:
    """A broker that a test may kill."""
    with Pulsar() as broker:
        yield broker


@pytest.fixture
async def connected(pulsar_broker: Pulsar) -> AsyncIterator[PulsarBroker]:
    """A connection to topics of its own."""
    made = PulsarBroker(pulsar_broker.url, "fc", f"q-{os.urandom(4).hex()}")
    await made.open()
    yield made
    await made.close()


async def came(broker: PulsarBroker, count: int = 1) -> list[Message]:
    """Return messages once so many have come."""
    found: list[Message] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await broker.arrived(count - len(found))
            await asyncio.sleep(0.01)
    return found


async def test_what_is_sent_comes_and_is_settled(connected: PulsarBroker, pulsar_broker: Pulsar) -> None:
    """With its fields, once; what is not settled goes to another worker as soon as this one is gone."""
    await connected.send({"id": "a", "note": "ü"}, bytes(range(256)))
    await connected.send({"id": "b"}, b"")
    first, second = await came(connected, 2)
    assert (first.fields, first.body, second.fields["id"]) == ({"id": "a", "note": "ü"}, bytes(range(256)), "b")
    await connected.settle(first)
    other = Connection(pulsar_broker.url, "fc", connected._topic.rpartition("jobs-")[2], 1)
    await other.open()
    assert await other.arrived(8) == []
    await connected.close()
    assert [each.place for each in await came(other)] == [second.place]
    await other.close()


async def test_what_is_refused_comes_again(connected: PulsarBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(pulsar, "_REFUSED", 0.1)
    await connected.send(FIELDS, b"")
    (message,) = await came(connected)
    await connected.refuse(message)
    assert [each.place for each in await came(connected)] == [message.place]


async def test_who_receives_no_more_subscribes_again(connected: PulsarBroker) -> None:
    """The consumer was closed from elsewhere: whoever waits for news hears of it, and what is sent then comes."""
    await connected.send(FIELDS, b"one")
    (message,) = await came(connected)
    lost = connected._consumer
    await lost.close()
    async with asyncio.timeout(20):
        await connected.news.wait()
    await connected.settle(message)
    await connected.refuse(message)
    await connected.send(FIELDS, b"two")
    assert {each.body for each in await came(connected, 2)} == {b"one", b"two"}
    assert connected._consumer is not lost


async def test_before_anything_is_received_there_is_nothing_to_settle(connected: PulsarBroker) -> None:
    """A worker that claims after its queue was opened anew may still hold messages of before."""
    message = Message(b"1", FIELDS, b"", None)
    await connected.settle(message)
    await connected.refuse(message)
    assert await connected.arrived(1) == []


async def test_more_than_may_be_on_their_way_are_refused(
    connected: PulsarBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood is overload, and nobody waits for it."""
    monkeypatch.setattr(pulsar, "PENDING", 4)
    sent = await asyncio.gather(*(connected.send(FIELDS, b"") for _ in range(100)), return_exceptions=True)
    refused = [each for each in sent if each is not None]
    assert refused
    assert {type(each) for each in refused} == {StoreOverloaded}


async def test_a_broker_that_is_killed_is_waited_for(own_broker: Pulsar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending fails within its time while it is gone; what it had taken comes when it is back."""
    monkeypatch.setattr(pulsar, "_ANSWER", 0.5)
    broker = PulsarBroker(own_broker.url, "fc", "q")
    await broker.open()
    await broker.send(FIELDS, b"before")
    own_broker.kill()
    with pytest.raises(StoreDown):
        await broker.send(FIELDS, b"while")
    own_broker.start()
    bodies = {each.body for each in await came(broker)}
    assert b"before" in bodies
    await broker.close()


async def test_an_app_starts_without_its_broker(own_broker: Pulsar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening asks for nothing; all who want to send, and who want to receive, are told together."""
    monkeypatch.setattr(pulsar, "_ANSWER", 0.3)
    monkeypatch.setattr(pulsar, "_CONNECTING", 1)
    own_broker.kill()
    broker = PulsarBroker(own_broker.url, "fc", "q")
    await broker.open()
    sent = await asyncio.gather(*(broker.send(FIELDS, b"") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in sent] == [StoreDown] * 3
    with pytest.raises(StoreDown):
        await broker.arrived(1)
    own_broker.start()
    async with asyncio.timeout(20):
        while True:
            try:
                await broker.send(FIELDS, b"back")
                break
            except StoreDown:
                await asyncio.sleep(0.05)
    assert [each.body for each in await came(broker)] == [b"back"]
    await broker.close()


def test_an_address_says_where_and_who(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts, tenant and namespace, and where the token is; TLS checks the host's name."""
    assert Place.of("pulsar://a:6650,b:6650") == Place("pulsar://a:6650,b:6650", "public/default", "")
    monkeypatch.setenv("PULSAR_TOKEN", "t")
    place = Place.of("pulsar+ssl://a:6651/team/jobs/?token=env:PULSAR_TOKEN")
    assert place == Place("pulsar+ssl://a:6651", "team/jobs", "env:PULSAR_TOKEN")
    settings = place.settings()
    assert settings["tls_validate_hostname"] is True
    assert "authentication" in settings
    assert "authentication" not in Place.of("pulsar://a:6650").settings()
    assert "jobs-q" in repr(PulsarBroker("pulsar://a:6650", "fc", "q"))


def test_records_need_a_store_that_workers_share() -> None:
    """Pulsar keeps neither status nor results."""
    with pytest.raises(ConfigError, match="needs a store that workers share"):
        queue_at("pulsar://x", "fc", "q", FakeClock())
