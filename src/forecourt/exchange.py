"""One request and its answer while they pass through the stack.

The exchange knows the endpoint, the principal and what was decided so far, and it owns the two trips to the store:

- The first layer that asks sends the questions of *every* layer of this endpoint's chain, in stack order, in one
  call of `Store.decide`. Layers that ask later find their answers waiting. Whoever asks first gets the refusal,
  whichever layer's it is.
- Whatever was granted is settled once, when the last message of the response passes (before it, where a settlement
  is durable), or when the exchange ends without one: by exception, by cancellation, by a client that left.

Layers own keys and refusals, the store owns precedence, the exchange owns undoing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from forecourt.asking import Asks, Chain, Waits
from forecourt.core.jobs import Progress
from forecourt.deadlines import Deadline
from forecourt.decisions import Decision, decided
from forecourt.errors import StoreError, StoreOverloaded
from forecourt.ids import some_id
from forecourt.policies.credits import MOST_CREDITS
from forecourt.principals import Principal
from forecourt.responses import OVERLOADED, STORE_UNAVAILABLE, Header, Problem, Refusal
from forecourt.routing import Endpoint
from forecourt.runtime import AtOnce, Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["KEY", "STATE", "Asks", "Chain", "Exchange", "Waits", "exchange_of"]

STATE = "forecourt"
"""The exchange's name in `scope["state"]`, so `request.state.forecourt` in a handler."""

KEY = "forecourt.exchange"
"""Its place in a scope, where layers look it up."""

_NOTHING: Mapping[Any, Any] = MappingProxyType({})
"""What most exchanges have of what few have: not made anew for each."""

_OTHER_BEGINNINGS = frozenset({"websocket.http.response.start", "websocket.accept"})
"""Besides `http.response.start`; an accepted WebSocket has no status and counts as 101."""

_BODIES = frozenset(
    {"http.response.body", "http.response.pathsend", "http.response.zerocopysend", "websocket.http.response.body"}
)
"""Messages that end a response unless they say that more comes (pathsend never does)."""


_Asked = tuple[Asks, int]
"""A layer, and how many questions it asks."""


class Exchange:
    """This one request and its answer; layers leave response fields on `headers` and their notes on `notes`."""

    __slots__ = (
        "_answers",
        "_client",
        "_granted",
        "_id",
        "_outer_send",
        "_refusal",
        "_replays",
        "_trailers",
        "balance",
        "begins",
        "broken",
        "chain",
        "deadline",
        "endpoint",
        "entered",
        "headers",
        "left",
        "listeners",
        "notes",
        "params",
        "price",
        "principal",
        "refused",
        "runtime",
        "scope",
        "sent",
        "status",
        "trace_id",
        "work",
    )

    decided = decided

    def __init__(self, runtime: Runtime, scope: Scope) -> None:
        self.runtime = runtime
        self.scope = scope
        self._id: str | None = None
        self._client: str | None = None
        self.endpoint: Endpoint | None = None
        self.params: Mapping[str, object] = {}
        self.principal: Principal | None = None
        self.headers: list[Header] = []
        self.notes: dict[object, Any] = {}
        self.status: int | None = None
        self.sent: int | None = None
        """Bytes of the response's body so far; None where nobody counts them."""
        self.refused: Problem | None = None
        self.listeners: list[Callable[[Decision], object]] = []
        self.trace_id: str | None = None
        self.broken = False
        """Whether the app raised, before or after its response began."""
        self.entered: list[object] = []
        """The stacks that this exchange is passing through, outermost first; none when it is over."""
        self.balance: int | None = None
        """The caller's credits after this call's reservation; None where it costs none."""
        self.left: float | None = None  # least share, 0 to 1, of a limit that is left; None where nobody observes
        self.price: int | None = None
        """What the handler charged so far; None: the endpoint's fixed amount holds."""
        self.work: asyncio.Task[None] | None = None
        """What goes on for this exchange after its caller was cancelled; it is over when that is."""
        self.deadline: Deadline | None = None
        """Until when the answer is waited for; None where nobody says."""
        self.begins: Callable[[Message], object] | None = None
        """Who is told how the response begins, just before it does."""
        self._answers: dict[Asks, Sequence[Answer]] | None = None
        self._refusal: ASGIApp | None = None
        self._replays: Mapping[Asks, ASGIApp] = _NOTHING
        self._granted: Sequence[tuple[Asks, Sequence[Answer]]] = ()
        self._trailers = False

    @property
    def id(self) -> str:
        """What this exchange's grants are known by in the store: 96 random bits."""
        if self._id is None:
            self._id = some_id()
        return self._id

    @property
    def client(self) -> str:
        """The client's address, as limits count it."""
        if self._client is None:
            self._client = self.runtime.clients.key(self.scope)
        return self._client

    def charge(self, amount: int) -> None:
        """Have this call cost `amount` credits instead of the endpoint's fixed amount; several calls add up.

        It is settled when the response has ended; what is said later (in a background task) comes too late. Where the
        endpoint charges nothing, nor does this. ValueError when it is no whole number of credits.
        """
        if type(amount) is not int or not 0 <= amount <= MOST_CREDITS:
            raise ValueError(f"charge({amount!r}): must be a whole number of credits, 0 to {MOST_CREDITS}")
        self.price = (self.price or 0) + amount

    def progress(self, done: float, note: str = "") -> None:
        """Say how far this call's job has come, 0 to 1, in a word for its owner; ValueError for other numbers."""
        self.notes[Progress] = Progress.of(done, note)

    async def run(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        """Pass through `app`; whatever was granted is settled by the end, however it ends.

        Meanwhile the scope and its state name this exchange; one around it, of another config or call, comes back.
        """
        scope = self.scope
        outer = scope.get(KEY)
        state = scope.get("state")
        if state is None:
            state = scope["state"] = {}
        scope[KEY] = state[STATE] = self
        self._outer_send = send
        try:
            await app(scope, receive, self._send)
        except Exception:
            self.broken = True
            raise
        finally:
            self.entered.clear()
            if self.work is not None:  # it looks its exchange up in the scope
                self.work.add_done_callback(self._end)
            else:
                if outer is None:
                    scope.pop(KEY, None)
                    state.pop(STATE, None)
                else:
                    scope[KEY] = state[STATE] = outer
                if self._granted:
                    self._end()

    def enter(self, chain: Chain) -> None:
        """Enter an endpoint's chain, whose layers ask together."""
        self.chain = chain
        self._answers = None
        self._replays = _NOTHING

    def wrap(self, around: Callable[[Send], Send]) -> None:
        """Put something around what sends, outside of all layers, from the next message on."""
        self._outer_send = around(self._outer_send)

    async def ask(self, layer: Asks) -> ASGIApp | None:
        """Return the response to give instead of going on, or None; the first to ask asks for all.

        A refusal goes to the first who asks, whichever layer's it is; a replay only to the layer that has it.
        """
        if self._answers is None:
            self._answers = {}
            self._refusal = await self._ask_all(self._answers)
        return self._refusal or (self._replays.get(layer) if self._replays else None)

    def ask_at_once(self, layer: Asks, decide: AtOnce) -> ASGIApp | None:
        """Ask as `ask` does, where the chain has an `at_once` to decide: nothing is waited for."""
        if layer is self.chain.alone:
            return self._ask_one(layer, decide)
        if self._answers is None:
            self._refusal = self._ask_now(decide)
        return self._refusal or (self._replays.get(layer) if self._replays else None)

    def refuse(self, problem: Problem, retry_after: int | None = None) -> Refusal:
        """Note the refusal and build its response in the app's own wording; `retry_after` in whole seconds."""
        self.refused = problem
        return Refusal(problem, retry_after, renderer=self.runtime.renderer)

    def answers(self, layer: Asks) -> Sequence[Answer]:
        """Return what the store answered this layer; empty when it was not asked."""
        return (self._answers or {}).get(layer, ())

    def _ask_one(self, layer: Asks, decide: AtOnce) -> ASGIApp | None:
        """Ask for the only layer that asks: nobody else's refusal can stop its answers, and a replay is its own."""
        self._answers = {}
        stated = layer.questions(self)
        if callable(stated):
            return stated
        if not stated:
            return None
        try:
            answers = decide(stated)
        except StoreError as error:
            return self.undecided(error)
        self._answers = {layer: answers}
        if layer.settles and [answer for answer in answers if answer.granted]:
            self._granted = ((layer, answers),)
        return layer.answered(self, answers)

    def _ask_now(self, decide: AtOnce) -> ASGIApp | None:
        """Ask for all layers of the chain, of a store that does not wait."""
        self._answers = {}
        asked, questions, refusal = self._stated()
        if refusal is not None or not questions:
            return refusal
        try:
            answers = decide(questions)
        except StoreError as error:
            return self.undecided(error)
        return self._heard(asked, answers, self._answers)

    async def _ask_all(self, told: dict[Asks, Sequence[Answer]]) -> ASGIApp | None:
        """Ask for all layers of the chain and give each its answers; keep replays, return the first refusal."""
        asked, questions, refusal = self._stated()
        if refusal is not None or not questions:
            return refusal
        try:
            answers = await self.runtime.store.decide(questions)
            if self.chain.waits:
                answers = await self._waited(asked, questions, answers)
        except StoreError as error:
            return self.undecided(error)
        return self._heard(asked, answers, told)

    def _stated(self) -> tuple[list[_Asked], list[Question], ASGIApp | None]:
        """Return who asks how much, all that is asked, and what a layer answers before anything is asked."""
        asked: list[_Asked] = []
        questions: list[Question] = []
        for layer in self.chain.askers:
            stated = layer.questions(self)
            if callable(stated):
                return [], [], stated
            if stated:
                asked.append((layer, len(stated)))
                questions += stated
        return asked, questions, None

    def _heard(
        self, asked: Sequence[_Asked], answers: Sequence[Answer], told: dict[Asks, Sequence[Answer]]
    ) -> ASGIApp | None:
        """Give each layer its answers; keep what was granted and replays, return the first refusal."""
        refusal: ASGIApp | None = None
        at = 0
        for layer, number in asked:
            mine = told[layer] = answers[at : at + number]
            at += number
            if layer.settles and [answer for answer in mine if answer.granted]:
                self._granted = (*self._granted, (layer, mine))
            ran = not self._replays and [answer for answer in mine if answer.values or answer.degraded]
            response = layer.answered(self, mine) if ran else None
            if response is None:
                continue
            if any(answer.verdict == "refuse" for answer in mine):
                refusal = refusal or response
            else:
                self._replays = {**self._replays, layer: response}
        return refusal

    async def _waited(
        self, asked: Sequence[tuple[Asks, int]], questions: Sequence[Question], answers: list[Answer]
    ) -> list[Answer]:
        """Ask all again, where one question is refused alone and its layer waited until it need not be."""
        refusing = [place for place, answer in enumerate(answers) if answer.verdict == "refuse"]
        if len(refusing) != 1 or answers[refusing[0]].degraded:
            return answers
        layer = [layer for layer, number in asked for _ in range(number)][refusing[0]]
        if not isinstance(layer, Waits):
            return answers
        return await layer.wait(self, refusing[0], partial(self.runtime.store.decide, questions)) or answers

    def undecided(self, error: StoreError) -> Refusal:
        """Refuse because the store did not decide: 503, as overload or as a service that does not answer."""
        self.decided("store", "unavailable")
        problem = OVERLOADED if isinstance(error, StoreOverloaded) else STORE_UNAVAILABLE
        return self.refuse(problem, retry_after=1)

    def _send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.start" or kind in _OTHER_BEGINNINGS:
            self.status = message.get("status", 101)
            if "trailers" in message:
                self._trailers = bool(message["trailers"])
            if self.begins is not None:
                self.begins(message)
            if self.headers:
                message = self._with_fields(message)
        else:
            if self.sent is not None and (body := message.get("body")):
                self.sent += len(body)
            if self._granted and self._is_last(message):
                return self._send_last(message)
        return self._outer_send(message)

    async def _send_last(self, message: Message) -> None:
        settlements = self._settlements()
        if settlements and any(settlement.durable for settlement in settlements):
            await self.runtime.settled(settlements)
            settlements = []
        try:
            await self._outer_send(message)
        finally:
            if settlements:
                self.runtime.settle(settlements)

    def _is_last(self, message: Message) -> bool:
        kind = message["type"]
        if kind in _BODIES:
            return not self._trailers and not message.get("more_body", False)
        if kind == "http.response.trailers":
            return not message.get("more_trailers", False)
        return bool(kind == "websocket.close")

    def _with_fields(self, message: Message) -> Message:
        """Add our fields; where the app has one of that name, its own stays."""
        theirs, ours = message.get("headers") or (), self.headers
        names = dict(theirs)
        for name, _ in ours:
            if name in names:
                ours = [field for field in ours if field[0] not in names]
                break
        return {**message, "headers": [*theirs, *ours]}

    def _end(self, _work: object = None) -> None:
        if self._granted and (settlements := self._settlements()):
            self.runtime.settle(settlements)

    def _settlements(self) -> list[Settlement]:
        granted, self._granted = self._granted, ()
        return [
            told._replace(local=True) if any(answer.degraded for answer in answers) else told
            for layer, answers in granted
            for told in layer.settlements(self, answers)
        ]


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that this scope belongs to; KeyError outside a stack."""
    exchange: Exchange = scope[KEY]
    return exchange
