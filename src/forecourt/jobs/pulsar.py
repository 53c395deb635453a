"""The connection to a Pulsar broker: sends the messages of one queue, and receives them on a shared subscription.

Nothing is connected before it is needed, and what fails is tried again at the next call: an app starts while its broker
is away. Each send is a message of its own (a batch would make every caller wait for its delay); so many may be on their
way, beyond that callers are refused. A worker has few messages waiting for it, so that others who are idle get them.
The broker gives a message to another worker as soon as the connection of the one who had it is gone.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pulsar  # type: ignore[import-untyped]  # the package carries no types
import pulsar.asyncio as client  # type: ignore[import-untyped]

from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.jobs.brokered import Message
from forecourt.policies.keys import revealed

SUBSCRIPTION = "forecourt-workers"
PENDING = 1000
"""Messages that may be on their way from one process."""

_ANSWER = 2.0
_CONNECTING = 5
"""Seconds that it may take until a topic can be sent to, or received from."""

_ROOM = 4
"""Messages that wait with a worker, and as many again in its client."""

_REFUSED = 5.0
"""Seconds until a message that this worker has no room to keep is given to any."""


class PulsarBroker:
    """One queue's topics at a broker: that of its jobs, and the one of those that died."""

    def __init__(self, address: str, namespace: str, name: str) -> None:
        place = Place.of(address)
        self._place = place
        self._topic = f"persistent://{place.tenancy}/{namespace}-jobs-{name}"
        self._client: Any = None
        self._producers: dict[str, asyncio.Task[Any]] = {}
        self._consumer: Any = None
        self._receiving: asyncio.Task[None] | None = None
        self._arrived: asyncio.Queue[Message] = asyncio.Queue(_ROOM)
        self.news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<PulsarBroker {self._topic}>"

    async def open(self) -> None:
        """Make what connects later, on the running loop."""
        self._client = client.Client(self._place.service, **self._place.settings())
        self._arrived, self.news = asyncio.Queue(_ROOM), asyncio.Event()

    async def close(self) -> None:
        """Let go of all; what was received and not settled goes to other workers."""
        tasks = [*self._producers.values(), *([self._receiving] if self._receiving else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in (self._consumer, self._client):
            if each is not None:
                await _quietly(each.close())
        self._client = self._consumer = self._receiving = None
        self._producers = {}

    async def send(self, fields: Mapping[str, str], body: bytes, *, dead: bool = False) -> None:
        """Return once the broker has the message."""
        try:
            producer = await self._producer(f"{self._topic}-dead" if dead else self._topic)
            await producer.send(body, properties=dict(fields))
        except client.PulsarException as error:
            if error.error() == pulsar.Result.ProducerQueueIsFull:
                raise StoreOverloaded(f"{PENDING} messages are on their way to the broker") from error
            raise StoreDown(f"the broker did not take a message: {error}") from error

    async def arrived(self, most: int) -> list[Message]:
        """Return messages that have come, at most so many; StoreDown where none can come."""
        await self._subscribe()
        found: list[Message] = []
        while len(found) < most and not self._arrived.empty():
            found.append(self._arrived.get_nowait())
        if self._arrived.empty():
            self.news.clear()
        return found

    async def settle(self, message: Message) -> None:
        """Have it never come again; where the broker does not hear of it, it will, and be settled then."""
        if self._consumer is not None:
            await _quietly(self._consumer.acknowledge(message.handle))

    async def refuse(self, message: Message) -> None:
        """Have it come again later, to any worker."""
        if self._consumer is not None:
            await _quietly(self._consumer.negative_acknowledge(message.handle))

    async def _producer(self, topic: str) -> Any:
        """Return what sends; all who wait for the same one fail together, and the next who comes tries anew."""
        making = self._producers.get(topic)
        if making is None or (making.done() and (making.cancelled() or making.exception())):
            making = self._producers[topic] = asyncio.ensure_future(self._made(topic))
        try:
            async with asyncio.timeout(_ANSWER):
                return await asyncio.shield(making)
        except TimeoutError as error:
            raise StoreDown("the broker does not answer") from error

    async def _made(self, topic: str) -> Any:
        return await self._client.create_producer(
            topic,
            batching_enabled=False,
            block_if_queue_full=False,
            max_pending_messages=PENDING,
            send_timeout_millis=round(_ANSWER * 1000),
        )

    async def _subscribe(self) -> None:
        if self._receiving is not None and not self._receiving.done():
            return
        if self._consumer is not None:
            lost, self._consumer = self._consumer, None
            await _quietly(lost.close())
        try:
            self._consumer = await self._client.subscribe(
                self._topic,
                SUBSCRIPTION,
                consumer_type=pulsar.ConsumerType.Shared,
                initial_position=pulsar.InitialPosition.Earliest,
                receiver_queue_size=_ROOM,
                negative_ack_redelivery_delay_ms=round(_REFUSED * 1000),
            )
        except client.PulsarException as error:
            raise StoreDown(f"the broker lets nobody receive: {error}") from error
        self._receiving = asyncio.get_running_loop().create_task(self._receive(self._consumer))

    async def _receive(self, consumer: Any) -> None:
        """Receive until that is no more possible; the next look for messages subscribes again."""
        while True:
            try:
                handle = await consumer.receive()
            except client.PulsarException:
                self.news.set()
                return
            await self._arrived.put(
                Message(handle.message_id().serialize(), handle.properties(), handle.data(), handle)
            )
            self.news.set()


class Place(NamedTuple):
    """What an address says: the brokers, tenant and namespace, and where the token is named."""

    service: str
    tenancy: str
    token: str

    @classmethod
    def of(cls, address: str) -> "Place":
        """Read `pulsar[+ssl]://HOST:PORT[,…][/TENANT/NAMESPACE][?token=env:NAME]`."""
        parts = urlsplit(address)
        token = parse_qs(parts.query).get("token", [""])[0]
        return cls(f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "public/default", token)

    def settings(self) -> dict[str, object]:
        """Return what the client is made with; its own log goes nowhere, as what fails is told by exceptions."""
        settings: dict[str, object] = {
            "operation_timeout_seconds": _CONNECTING,
            "connection_timeout_ms": round(_ANSWER * 1000),
            "logger": pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull),
        }
        if self.token:
            settings["authentication"] = pulsar.AuthenticationToken(lambda: revealed(self.token).decode())
        if self.service.startswith("pulsar+ssl:"):
            settings["tls_validate_hostname"] = True
        return settings


async def _quietly(doing: Any) -> None:
    """Do it where it can be done: what goes wrong here is made good by the broker."""
    try:
        async with asyncio.timeout(_ANSWER):
            await doing
    except (client.PulsarException, TimeoutError, RuntimeError):
        return
