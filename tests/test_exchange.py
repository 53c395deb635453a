"""The exchange: one trip for all layers, and nothing granted is ever forgotten."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence

import pytest

from forecourt import JobConfig
from forecourt.errors import StoreDown
from forecourt.exchange import Chain, Exchange, exchange_of
from forecourt.responses import Problem, Refusal
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Message, Receive, Scope, Send
from tests.asgi import http


class Told(MemoryStore):
    """A memory store that keeps what it was asked and told."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.trips: list[list[str]] = []
        self.told: list[str] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Note the trip and decide."""
        self.trips.append([question.key for question in questions])
        return await super().decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Wait for the gate, fail if told to, and note."""
        await self.gate.wait()
        if self.error:
            raise self.error
        self.told += [settlement.key for settlement in settlements]


class Asker:
    """A layer of one limit, that settles what it is granted."""

    settles = True

    def __init__(self, app: ASGIApp, name: str, *, limit: int = 9, durable: bool = False) -> None:
        self.app = app
        self.name = name
        self.durable = durable
        self.limit = limit
        self.settled = 0
        self.early: Refusal | None = None
        self.replay = False
        self.silent = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask, refuse or call on."""
        if refused := await exchange_of(scope).ask(self):
            return await refused(scope, receive, send)
        await self.app(scope, receive, send)

    def questions(self, exchange: Exchange) -> Sequence[Question] | ASGIApp:
        """Ask the one limit, unless told to refuse before."""
        if self.silent:
            return []
        return self.early or [Question("fixed_window", self.name, (self.limit, 60_000_000, 1, 0))]

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> ASGIApp | None:
        """Leave a field; refuse by name, or replay."""
        exchange.headers.append((b"x-" + self.name.encode(), b"%d" % int(answers[0].values[0])))
        if self.replay:
            return Refusal(Problem(208, f"replay of {self.name}"))
        return exchange.refuse(Problem(429, self.name)) if answers[0].verdict == "refuse" else None

    def settlements(self, exchange: Exchange, answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Settle once."""
        self.settled += 1
        yield Settlement("fixed_window_back", self.name, (), durable=self.durable)


class Passage:
    """A chain of askers around a handler, and what came out of it."""

    def __init__(self, *names: str, durable: bool = False, messages: Sequence[Message] | None = None) -> None:
        self.store = Told()
        self.runtime = Runtime(JobConfig(), self.store, FakeClock())
        self.sent: list[Message] = []
        self.order: list[str] = []
        self.messages = messages or [
            {"type": "http.response.start", "status": 200, "headers": []},
            {"type": "http.response.body", "body": b"x"},
        ]
        self.askers: list[Asker] = []
        app: ASGIApp = self.handler
        for name in reversed(names):
            self.askers.insert(0, Asker(app, name, durable=durable))
            app = self.askers[0]
        self.chain = Chain(app, tuple(self.askers))

    async def handler(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send what the test wants sent."""
        for message in self.messages:
            await send(message)

    async def run(self) -> Exchange:
        """Pass one request through."""
        scope = http("/")
        exchange = Exchange(self.runtime, scope)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.order.append(f"{message['type']} {self.store.told}")
            self.sent.append(message)

        exchange.enter(self.chain)
        await exchange.run(self.chain.app, receive, send)
        return exchange

    async def drained(self) -> list[str]:
        """Return what the store was told, once all is told."""
        await self.runtime.start()
        await self.runtime.stop()
        return self.store.told


async def test_all_questions_leave_in_one_trip_in_stack_order() -> None:
    """The first to ask asks for all; later layers find their answers waiting."""
    passage = Passage("a", "b", "c")
    await passage.run()
    assert passage.store.trips == [["a", "b", "c"]]
    assert passage.sent[0]["headers"] == [(b"x-a", b"8"), (b"x-b", b"8"), (b"x-c", b"8")]


async def test_what_was_granted_is_settled_once_after_the_last_message() -> None:
    """One telling for all layers, and it does not delay the response."""
    passage = Passage("a", "b")
    await passage.run()
    assert passage.order == ["http.response.start []", "http.response.body []"]
    assert await passage.drained() == ["a", "b"]
    assert [asker.settled for asker in passage.askers] == [1, 1]


async def test_a_durable_settlement_is_told_before_the_last_byte() -> None:
    """The store knows before the client can."""
    passage = Passage("a", "b", durable=True)
    await passage.run()
    assert passage.order == ["http.response.start []", "http.response.body ['a', 'b']"]


@pytest.mark.parametrize(
    "ending",
    [
        [{"type": "http.response.body", "more_body": True}, {"type": "http.response.body"}],
        [{"type": "http.response.pathsend", "path": "/file"}],
        [{"type": "http.response.zerocopysend", "more_body": True}, {"type": "http.response.body"}],
    ],
    ids=["chunks", "pathsend", "zerocopy"],
)
async def test_the_last_message_is_recognised(ending: list[Message]) -> None:
    """Bodies in pieces, files sent by path, and zero copies end where they say."""
    start: Message = {"type": "http.response.start", "status": 200}
    passage = Passage("a", durable=True, messages=[start, *ending])
    await passage.run()
    assert [line.rpartition(" ")[2] for line in passage.order] == ["[]"] * len(ending) + ["['a']"]


async def test_trailers_come_after_the_body() -> None:
    """With trailers announced, the response ends with the last of them; other messages end nothing."""
    messages: list[Message] = [
        {"type": "http.response.start", "status": 200, "trailers": True},
        {"type": "http.response.debug", "info": {}},
        {"type": "http.response.body"},
        {"type": "http.response.trailers", "more_trailers": True},
        {"type": "http.response.trailers"},
    ]
    passage = Passage("a", durable=True, messages=messages)
    await passage.run()
    assert [line.rpartition(" ")[2] for line in passage.order] == ["[]"] * 4 + ["['a']"]


async def test_an_exception_settles_at_the_end() -> None:
    """A handler that fails forgets nothing that was granted."""
    passage = Passage("a", messages=[{"no": "type"}])
    with pytest.raises(KeyError):
        await passage.run()
    assert await passage.drained() == ["a"]


async def test_cancellation_settles_in_a_task_of_its_own() -> None:
    """A client that left cancels the request, not the telling."""
    passage = Passage("a", durable=True)
    passage.store.gate.clear()
    running = asyncio.ensure_future(passage.run())
    while not passage.runtime._settling._tasks:
        await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert passage.store.told == []
    passage.store.gate.set()
    assert await passage.drained() == ["a"]
    assert passage.askers[0].settled == 1


async def test_a_refusal_is_returned_by_whoever_asks_first() -> None:
    """The last layer's limit refuses: the first returns its refusal, nothing was taken of the others."""
    passage = Passage("a", "b")
    passage.askers[1].limit = 0
    exchange = await passage.run()
    assert passage.sent[0]["status"] == 429
    assert exchange.refused is not None
    assert exchange.refused.title == "b"
    assert await passage.drained() == []


async def test_a_refusal_before_anything_is_asked_sends_nothing() -> None:
    """A question may itself be a refusal: then no trip is made."""
    passage = Passage("a", "b")
    passage.askers[1].early = Refusal(Problem(400, "missing"))
    await passage.run()
    assert (passage.sent[0]["status"], passage.store.trips) == (400, [])


async def test_a_replay_is_returned_by_its_own_layer() -> None:
    """Layers above it go on first: a replay passes them as the handler's answer would."""
    passage = Passage("a", "b")
    passage.askers[1].replay = True
    seen: list[str] = []
    first = passage.askers[0].app

    async def between(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append("between")
        await first(scope, receive, send)

    passage.askers[0].app = between
    await passage.run()
    assert (passage.sent[0]["status"], seen) == (208, ["between"])


async def test_the_highest_of_several_refusals_wins() -> None:
    """Both refuse: the answer is that of the layer that stands higher."""
    passage = Passage("a", "b")
    for asker in passage.askers:
        asker.limit = 0
    exchange = await passage.run()
    assert b'"a"' in passage.sent[1]["body"]
    assert exchange.answers(passage.askers[1])[0].verdict == "refuse"


async def test_a_chain_that_asks_nothing_makes_no_trip() -> None:
    """Nothing to ask, nothing to settle."""
    passage = Passage()
    await passage.run()
    assert passage.store.trips == []


async def test_a_lost_telling_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With the store gone the grant ends with its lease; one warning names the kinds, no keys."""
    passage = Passage("a")
    passage.store.error = StoreDown("gone")
    with caplog.at_level(logging.WARNING, "forecourt"):
        await passage.run()
        await passage.drained()
    (record,) = caplog.records
    assert "settlements lost (fixed_window_back): gone" in record.getMessage()


async def test_an_exchange_has_one_id() -> None:
    """The id that grants are known by is made once."""
    exchange = await Passage().run()
    assert exchange.id == exchange.id
    assert len(exchange.id) == 24


async def test_a_degraded_grant_is_settled_here() -> None:
    """What the failure policy granted in this process is told to this process."""
    passage = Passage("a")
    seen: list[Settlement] = []

    async def decide(questions: Sequence[Question]) -> list[Answer]:
        return [Answer("go", (1, 0, 0, 0), granted=True, degraded=True) for _ in questions]

    async def settle(settlements: Sequence[Settlement]) -> None:
        seen.extend(settlements)

    passage.store.decide, passage.store.settle = decide, settle  # type: ignore[method-assign]  # as a failover would
    await passage.run()
    await passage.drained()
    assert [settlement.local for settlement in seen] == [True]


def at_once(*names: str, limit: int = 9, max_keys: int = 100) -> tuple[Exchange, list[Asker]]:
    """Return an exchange in a chain whose store is this process, and the layers that ask."""
    store = MemoryStore(FakeClock(), max_keys=max_keys)
    runtime = Runtime(JobConfig(), store, FakeClock())
    askers = [Asker(_nothing, name, limit=limit) for name in names]
    exchange = Exchange(runtime, http("/"))
    exchange.enter(Chain(_nothing, tuple(askers), at_once=runtime.at_once))
    return exchange, askers


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Answer nothing."""


def asked(exchange: Exchange, layer: Asker) -> ASGIApp | None:
    """Ask without waiting."""
    assert exchange.chain.at_once is not None
    return exchange.ask_at_once(layer, exchange.chain.at_once)


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
async def test_a_store_in_this_process_is_asked_without_waiting(names: tuple[str, ...]) -> None:
    """Each layer has its answers, and who settles does so once, as where it is awaited."""
    exchange, askers = at_once(*names)
    assert [asked(exchange, each) for each in askers] == [None] * len(names)
    assert [exchange.answers(each)[0].granted for each in askers] == [True] * len(names)
    for _ in range(2):
        exchange._end()
    assert [each.settled for each in askers] == [1] * len(names)


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
async def test_refusals_without_waiting(names: tuple[str, ...]) -> None:
    """What is refused, before anything is asked or by the store, is refused to the first who asks; nothing is held."""
    exchange, askers = at_once(*names, limit=0)
    refusal = asked(exchange, askers[0])
    assert isinstance(refusal, Refusal)
    assert refusal.problem.title == "a"
    exchange._end()
    assert askers[0].settled == 0

    exchange, askers = at_once(*names)
    askers[-1].early = Refusal(Problem(400, "early"))
    assert asked(exchange, askers[0]) is askers[-1].early

    exchange, askers = at_once(*names, max_keys=0)
    assert asked(exchange, askers[0]) is not None
    assert exchange.refused is not None
    assert exchange.refused.status == 503


async def test_nobody_asks_anything() -> None:
    """Layers that state nothing go on, and the store is not asked."""
    for names in (("a",), ("a", "b")):
        exchange, askers = at_once(*names, max_keys=0)
        for each in askers:
            each.silent = True
        assert asked(exchange, askers[0]) is None
        assert exchange.answers(askers[0]) == ()


async def test_settlements_that_cannot_be_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """In memory too: a layer's mistake is told, and raised to nobody."""
    exchange, _ = at_once("a")
    exchange.runtime.settle([Settlement("unheard_of", "k", ())])
    assert "settlements lost" in caplog.text
