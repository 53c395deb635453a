"""Two layers of one's own: one that only looks at the request, and one that asks the store.

`extra()` names where they stand. Each is built once per endpoint, so what an endpoint does not need costs it nothing.
"""

from collections.abc import Iterable, Mapping, Sequence

from forecourt import Exchange, Extra, Problem, Site
from forecourt.exchange import exchange_of
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

DAY = 86_400 * SECOND

TOO_LARGE = Problem(431, "Request Header Fields Too Large", "https://example.com/problems/header-too-large")
SPENT = Problem(429, "Too Many Requests", "https://example.com/problems/day-is-full")


class LargestHeader:
    """Refuses requests whose fields weigh more than `most` bytes."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self.app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Weigh; refuse or pass on."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._most:
            exchange = exchange_of(scope)
            exchange.decided("largest_header", "refused")
            return await exchange.refuse(TOO_LARGE)(scope, receive, send)
        await self.app(scope, receive, send)


class DailyCap:
    """Lets an endpoint be called `most` times in 24 hours from its first call, by all callers together.

    Its question leaves in the one trip with those of the other limits: a call refused by any of them counts for none.
    """

    settles = False

    def __init__(self, app: ASGIApp, *, most: int, site: Site) -> None:
        assert site.endpoint is not None, "built for endpoints only"
        self.app = app
        key = site.runtime.keys.key("daily_cap", site.endpoint.name, "endpoint", site.endpoint.name)
        self._question = Question("fixed_window", key, (most, DAY, 1, 0), "closed")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask; refuse and return, or call on."""
        if refused := await exchange_of(scope).ask(self):
            return await refused(scope, receive, send)
        await self.app(scope, receive, send)

    def questions(self, _exchange: Exchange) -> Sequence[Question]:
        """Count one call."""
        return (self._question,)

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> ASGIApp | None:
        """Refuse where the day is full, and say when the next begins."""
        (answer,) = answers
        if answer.verdict != "refuse":
            exchange.decided("daily_cap", "allowed")
            return None
        exchange.decided("daily_cap", "refused")
        wait = int(answer.values[1]) if answer.values else SECOND
        return exchange.refuse(SPENT, retry_after=-(-wait // SECOND))

    def settlements(self, _exchange: Exchange, _answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Nothing is held, so nothing is given back."""
        return ()


def extra(*, most_header: int, caps: Mapping[str, int]) -> list[Extra]:
    """Return both, for `PolicyMiddleware(…, extra=…)`: `caps` by the endpoint's name, `most_header` for all."""

    def daily_cap(app: ASGIApp, site: Site) -> ASGIApp | None:
        most = caps.get(site.endpoint.name) if site.endpoint else None
        return None if most is None else DailyCap(app, most=most, site=site)

    return [
        Extra("security", lambda app, _site: LargestHeader(app, most=most_header)),
        Extra("concurrency", daily_cap),
    ]
