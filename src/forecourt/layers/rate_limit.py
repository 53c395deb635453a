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

from collections.abc import Awaitable, Iterable, Sequence

from forecourt.errors import StoreError
from forecourt.exchange import KEY, Exchange
from forecourt.layers.limits import Limit, compiled
from forecourt.limit_fields import WRITERS, Standing
from forecourt.policies.rate_limit import RateLimit
from forecourt.responses import CLOSE_LATER, STORE_UNAVAILABLE, TYPES, Problem, Refusal, limit_exceeded
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send

SUPERSEDED = Problem(
    409,
    "Conflict",
    TYPES + "superseded",
    "A later call of the same kind took this one's place; this one did nothing.",
)


_Told = tuple[Limit, Question, Answer]


class RateLimitLayer:
    """Asks the limits of one endpoint; see the module for what it answers."""

    def __init__(self, app: ASGIApp, *, policy: tuple[RateLimit, ...], endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        limits = compiled(policy, endpoint, runtime)
        self._limits = tuple(limit for limit in limits if limit.count != "message")
        self._http_limits = tuple(limit for limit in self._limits if limit.count != "connect")
        self._always = self._limits if self._limits == self._http_limits else None
        """The limits of every call, where they are the same for both protocols."""
        self._message_limits = tuple(limit for limit in limits if limit.count == "message")
        self._batches = any(limit.batch > 1 for limit in self._limits)
        self._waits = any(limit.kind in ("throttle", "debounce_trailing") for limit in self._limits)
        self._lasts = self._waits or bool(self._message_limits)
        """Whether there is more to do than to ask."""
        self.settles = any(limit.count == "failure" for limit in self._limits)
        self._noted = self._batches or self._waits or self.settles
        """Whether what was asked must be known afterwards: who asked, and with which words."""
        alone = self._always is not None and len(self._always) == 1 and not self._noted
        self._alone = self._limits[0] if alone else None
        """The only limit, where nothing else is to be known of it."""
        self._write_fields = WRITERS[runtime.config.limit_headers]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Ask; refuse or call on. Where nothing is waited for, no coroutine is needed."""
        exchange: Exchange = scope[KEY]
        at_once = exchange.chain.at_once
        if at_once is None or self._lasts:
            return self._call(exchange, scope, receive, send)
        return (exchange.ask_at_once(self, at_once) or self.app)(scope, receive, send)

    async def _call(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask; refuse and return, wait where a limit says so, or call on."""
        if refused := await exchange.ask(self):
            return await refused(scope, receive, send)
        if self._waits and (refused := await self._wait(exchange)):
            return await refused(scope, receive, send)
        if self._message_limits and scope["type"] == "websocket":
            receive = self._limited(exchange, receive, send)
        await self.app(scope, receive, send)

    def questions(self, exchange: Exchange) -> Sequence[Question]:
        """One question for each limit that has no call of a batch in hand."""
        if self._alone is not None:
            return [self._alone.question(exchange)]
        limits: Sequence[Limit] = self._always or self._of(exchange)
        if self._batches:
            limits = [limit for limit in limits if not limit.in_hand()]
        questions = [limit.question(exchange) for limit in limits]
        if self._noted:
            exchange.notes[self] = limits, questions  # those that asked, and what
        return questions

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> Refusal | None:
        """Leave the RateLimit fields; refuse with the longest wait among the violated limits."""
        if self._alone is not None and answers[0].granted and not answers[0].degraded:
            self._let_in(exchange, self._alone, answers[0])
            return None
        limits: Sequence[Limit] = exchange.notes[self][0] if self._noted else self._always or self._of(exchange)
        standings: list[Standing] = []
        goes = plain = True
        for limit, (verdict, values, granted, degraded) in zip(limits, answers):  # noqa: B905  # one for each
            if verdict != "go":
                goes = False
            if degraded or not granted:
                plain = False
            if limit.shown and values and not degraded:
                standings.append(
                    (limit.of(exchange) if limit.others else limit).standing(
                        exchange.principal, values, granted=granted
                    )
                )
        if standings:
            exchange.headers += self._write_fields(standings)
        if self._batches:
            self._count_batches(limits, answers, unused=() if goes else {*self._of(exchange)} - {*limits})
        if exchange.listeners and answers:
            if standings:
                exchange.left = min(standing.remaining / standing.quota.limit for standing in standings)
            if plain:
                exchange.decided("rate_limit", "allowed")
            else:
                _tell(exchange, limits, answers)
        return None if goes else _refusal(exchange, limits, answers)

    def _let_in(self, exchange: Exchange, limit: Limit, answer: Answer) -> None:
        """Leave the fields of the only limit, which has let the call in: what `answered` comes to most often."""
        standing: Standing | None = None
        if limit.shown and answer.values:
            limit = limit.of(exchange) if limit.others else limit
            standing = limit.standing(exchange.principal, answer.values)
            exchange.headers += self._write_fields((standing,))
        if exchange.listeners:
            if standing is not None:
                exchange.left = standing.remaining / standing.quota.limit
            exchange.decided("rate_limit", "allowed")

    def settlements(self, exchange: Exchange, answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Give back what limits of failures took, where the answer is none."""
        if exchange.status is None or exchange.status >= 400 or exchange.broken:
            return
        for limit, question, answer in zip(*exchange.notes[self], answers, strict=True):
            if limit.count == "failure" and answer.granted:
                yield limit.give_back(question, answer)

    def _of(self, exchange: Exchange) -> tuple[Limit, ...]:
        """Return the limits of this call; an endpoint of both protocols has some for its WebSockets alone."""
        return self._limits if exchange.scope["type"] == "websocket" else self._http_limits

    def _count_batches(self, asked: Sequence[Limit], answers: Sequence[Answer], unused: Iterable[Limit]) -> None:
        """Keep what granted batches hold, and what was in hand and then not used."""
        for limit, answer in zip(asked, answers, strict=True):
            if answer.granted:
                limit.granted()
        for limit in unused:
            limit.put_back()

    async def _wait(self, exchange: Exchange) -> Refusal | None:
        """Wait for the throttled slot and the quiet of a trailing debounce; both were reserved in the one trip."""
        told = list(zip(*exchange.notes[self], exchange.answers(self), strict=True))
        await self._sleep_until_its_turn(exchange, told)
        for limit, question, answer in told:
            if limit.kind == "debounce_trailing" and answer.values:
                try:
                    refusal = await self._wait_for_quiet(exchange, limit, question, answer)
                except StoreError as error:
                    return exchange.undecided(error)
                if refusal:
                    return refusal
        return None

    async def _sleep_until_its_turn(self, exchange: Exchange, told: Sequence[_Told]) -> None:
        """Sleep as long as the last of its throttled slots is away; give all of them back when that is cut short."""
        delayed = [each for each in told if each[0].delay(each[2])]
        if not delayed:
            return
        try:
            await exchange.runtime.clock.sleep(max(limit.delay(answer) for limit, _, answer in delayed) / SECOND)
        except BaseException:
            exchange.runtime.settle([limit.give_back(question, answer) for limit, question, answer in delayed])
            raise

    async def _wait_for_quiet(
        self, exchange: Exchange, limit: Limit, question: Question, answer: Answer
    ) -> Refusal | None:
        """Wait until no later call came for the interval, then claim the run; refuse when one did."""
        claim = question._replace(kind="debounce_claim")
        wait = int(answer.values[1])
        while wait >= 0:
            await exchange.runtime.clock.sleep(wait / SECOND)
            (claimed,) = await exchange.runtime.store.decide([claim])
            if claimed.verdict == "go":
                return None
            if not claimed.values:
                return exchange.refuse(STORE_UNAVAILABLE, retry_after=1)
            if claimed.degraded and not answer.degraded:
                return None  # this process never saw the arrivals, so it cannot know of a later one
            wait = int(claimed.values[1])
        exchange.decided("rate_limit", "refused", limit.quota(exchange).name)
        return exchange.refuse(SUPERSEDED)

    def _limited(self, exchange: Exchange, receive: Receive, send: Send) -> Receive:
        async def limited_receive() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive" or await self._may_pass(exchange):
                return message
            await send({"type": "websocket.close", "code": CLOSE_LATER, "reason": "Too Many Messages"})
            return {"type": "websocket.disconnect", "code": CLOSE_LATER}

        return limited_receive

    async def _may_pass(self, exchange: Exchange) -> bool:
        limits = [limit for limit in self._message_limits if not limit.in_hand()]
        questions = [limit.question(exchange) for limit in limits]
        if not questions:
            return True
        try:
            answers = await exchange.runtime.store.decide(questions)
        except StoreError:
            return False
        told = list(zip(limits, questions, answers, strict=True))
        for limit, _, answer in told:
            if answer.granted:
                limit.granted()
        if any(answer.verdict == "refuse" for answer in answers):
            return False
        await self._sleep_until_its_turn(exchange, told)
        return True


def _tell(exchange: Exchange, limits: Sequence[Limit], answers: Sequence[Answer]) -> None:
    """Tell observers: what refused, by the names of its limits, or that it went, and by whose word."""
    violated = [(limit, answer) for limit, answer in zip(limits, answers, strict=True) if answer.verdict == "refuse"]
    names = ",".join(limit.quota(exchange).name for limit, _ in violated)
    if violated:
        unavailable = any(not answer.values for _, answer in violated)
        exchange.decided("rate_limit", "unavailable" if unavailable else "refused", names)
    elif any(answer.degraded for answer in answers):
        exchange.decided("rate_limit", "degraded")
    elif any(answer.granted for answer in answers):
        exchange.decided("rate_limit", "allowed")


def _refusal(exchange: Exchange, limits: Sequence[Limit], answers: Sequence[Answer]) -> Refusal:
    violated = [(limit, answer) for limit, answer in zip(limits, answers, strict=True) if answer.verdict == "refuse"]
    if any(not answer.values for _, answer in violated):
        return exchange.refuse(STORE_UNAVAILABLE, retry_after=1)
    waits = [int(answer.values[1]) for _, answer in violated]
    retry_after = -(-max(waits) // SECOND) if min(waits) >= 0 else None
    return exchange.refuse(limit_exceeded([limit.quota(exchange).name for limit, _ in violated]), retry_after)
