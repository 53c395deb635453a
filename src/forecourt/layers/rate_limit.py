"""Rate limit: refuses a call that comes too often, by any number of limits that stand or fall together.

`EndpointPolicy(rate_limit=…)` turns it on: `TokenBucket`, `FixedWindow`, `SlidingWindow`, `Throttle`, `Debounce`, one
or a list. It stands below auth, because limits count principals, and above all that costs. Its questions go in the
exchange's one trip; a call refused by one limit has consumed nothing of the others.

Refuses with 429, an exact `Retry-After` (the longest of its violated limits; none where waiting cannot help) and
`violated-policies`; with 409 where a trailing debounce let a later call supersede this one. Refusals and successes
carry the RateLimit fields. On a WebSocket it denies the handshake; messages over a limit with `count="message"` close
it (1013). With the store down each limit's `on_store_error` answers: "local" counts in this process, "open" passes,
"closed" refuses with 503; such answers carry no RateLimit fields.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from forecourt.errors import StoreError
from forecourt.exchange import Exchange, Runtime, exchange_of
from forecourt.layers.limits import Limit, compiled
from forecourt.limit_fields import WRITERS, Standing
from forecourt.policies.rate_limit import RateLimit
from forecourt.responses import CLOSE_LATER, STORE_UNAVAILABLE, TYPES, Problem, Refusal, limit_exceeded
from forecourt.routing import Endpoint
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send

SUPERSEDED = Problem(
    409,
    "Conflict",
    TYPES + "superseded",
    "A later call of the same kind took this one's place; this one did nothing.",
)


class Asked(NamedTuple):
    """A limit and the question it asked."""

    limit: Limit
    question: Question


class RateLimitLayer:
    """Asks the limits of one endpoint; see the module for what it answers."""

    def __init__(self, app: ASGIApp, *, policy: tuple[RateLimit, ...], endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        limits = compiled(policy, endpoint, runtime)
        self._limits = tuple(limit for limit in limits if limit.count != "message")
        self._message_limits = tuple(limit for limit in limits if limit.count == "message")
        self._waits = any(limit.kind in ("throttle", "debounce_trailing") for limit in self._limits)
        self.settles = any(limit.count == "failure" for limit in self._limits)
        self._write_fields = WRITERS[runtime.config.limit_headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask; refuse and return, wait where a limit says so, or call on."""
        exchange = exchange_of(scope)
        if refused := await exchange.ask(self):
            return await refused(scope, receive, send)
        if self._waits and (refused := await self._wait(exchange)):
            return await refused(scope, receive, send)
        if self._message_limits and scope["type"] == "websocket":
            receive = self._limited(exchange, receive, send)
        await self.app(scope, receive, send)

    def questions(self, exchange: Exchange) -> Sequence[Question]:
        """One question for each limit that has no call of a batch in hand."""
        asked = [Asked(limit, limit.question(exchange)) for limit in self._limits if not limit.in_hand()]
        exchange.notes[self] = asked
        return [each.question for each in asked]

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> Refusal | None:
        """Leave the RateLimit fields; refuse with the longest wait among the violated limits."""
        asked = self._asked(exchange)
        standings: list[Standing] = []
        goes = True
        for (limit, _), answer in zip(asked, answers, strict=True):
            goes = goes and answer.verdict == "go"
            if limit.shown and answer.values and not answer.degraded:
                standings.append(limit.standing(exchange, answer))
        exchange.headers += self._write_fields(standings)
        if goes:
            for limit, _ in asked:
                limit.granted()
            return None
        for limit in {*self._limits} - {limit for limit, _ in asked}:
            limit.put_back()
        return _refusal(exchange, asked, answers)

    def settlements(self, exchange: Exchange, answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Give back what limits of failures took, where the answer is none."""
        if exchange.status is None or exchange.status >= 400:
            return
        for (limit, question), answer in zip(self._asked(exchange), answers, strict=True):
            if limit.count == "failure":
                yield limit.give_back(question, answer)

    def _asked(self, exchange: Exchange) -> Sequence[Asked]:
        return cast("Sequence[Asked]", exchange.notes[self])

    async def _wait(self, exchange: Exchange) -> Refusal | None:
        """Wait for the throttled slot and the quiet of a trailing debounce; both were reserved in the one trip."""
        for (limit, question), answer in zip(self._asked(exchange), exchange.answers(self), strict=True):
            if limit.kind == "throttle" and (delay := limit.delay(answer)):
                await self._sleep_or_give_back(exchange, limit, question, answer, delay)
            elif limit.kind == "debounce_trailing" and not await self._is_last(exchange, question, answer):
                return exchange.refuse(SUPERSEDED)
        return None

    async def _sleep_or_give_back(
        self, exchange: Exchange, limit: Limit, question: Question, answer: Answer, delay: int
    ) -> None:
        try:
            await exchange.runtime.clock.sleep(delay / SECOND)
        except BaseException:
            exchange.runtime.settle([limit.give_back(question, answer)])
            raise

    async def _is_last(self, exchange: Exchange, question: Question, answer: Answer) -> bool:
        """Wait until no later call came for the interval, then claim the run; False when one did."""
        claim = Question("debounce_claim", question.key, question.args, question.on_error)
        wait = int(answer.values[1]) if answer.values else 0
        while True:
            await exchange.runtime.clock.sleep(wait / SECOND)
            (claimed,) = await exchange.runtime.store.decide([claim])
            if claimed.verdict == "go":
                return True
            wait = int(claimed.values[1]) if claimed.values else -1
            if wait < 0:
                return False

    def _limited(self, exchange: Exchange, receive: Receive, send: Send) -> Receive:
        async def limited_receive() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive" or await self._may_pass(exchange):
                return message
            await send({"type": "websocket.close", "code": CLOSE_LATER, "reason": "Too Many Messages"})
            return {"type": "websocket.disconnect", "code": CLOSE_LATER}

        return limited_receive

    async def _may_pass(self, exchange: Exchange) -> bool:
        questions = [limit.question(exchange) for limit in self._message_limits if not limit.in_hand()]
        try:
            answers = await exchange.runtime.store.decide(questions)
        except StoreError:
            return False
        return all(answer.verdict == "go" for answer in answers)


def _refusal(exchange: Exchange, asked: Sequence[Asked], answers: Sequence[Answer]) -> Refusal:
    violated = [(each.limit, answer) for each, answer in zip(asked, answers, strict=True) if answer.verdict == "refuse"]
    if any(not answer.values for _, answer in violated):
        return exchange.refuse(STORE_UNAVAILABLE, retry_after=1)
    waits = [int(answer.values[1]) for _, answer in violated]
    retry_after = -(-max(waits) // SECOND) if min(waits) >= 0 else None
    return exchange.refuse(limit_exceeded([limit.quota(exchange).name for limit, _ in violated]), retry_after)
