"""Follows the published keys of an issuer, so that no call waits for them while a valid key is known.

- The first call fetches; those that come meanwhile wait for the same fetch.
- Later, when the answer is no longer fresh (`Cache-Control: max-age`, else the config's `refresh`), one call starts
  a fetch in the background and is answered from what is known.
- A failure (no answer, garbage, a set without keys) changes nothing: what is known counts on, for a day at most.
- A key id that is not known makes one fetch, and the calls with unknown ids that come meanwhile wait for it; then none
  until `cooldown` after its beginning. Known keys never leave because of it. An id that was not there after such a
  fetch is remembered as unknown for two cooldowns, a bounded number of them.
- A key that is gone from the published set counts no longer, from that fetch on.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from forecourt.auth.compact import json_object
from forecourt.auth.rings import Key, of_id
from forecourt.policies.texts import web_address
from forecourt.types import SECOND, Clock

logger = logging.getLogger("forecourt")

LONGEST_STALE = 86_400 * SECOND
"""µs for which keys count after the last answer."""

_LONGEST_FRESH = 86_400 * SECOND
_RETRY_FIRST = SECOND
"""µs between attempts while no key was ever obtained."""

_MOST_UNKNOWN = 1_000
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})")


class Answered(Protocol):
    """An answer to a fetch."""

    @property
    def status(self) -> int:
        """Its status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its fields, by any case."""
        ...

    @property
    def body(self) -> bytes:
        """Its body."""
        ...


Get = Callable[[str, float, Mapping[str, str]], Awaitable[Answered]]
"""Fetches: (address, seconds, fields) → an answer; raises whatever it likes."""

Import = Callable[[Mapping[str, object]], Sequence[Key]]


class Terms(NamedTuple):
    """How an issuer is followed; durations in µs, `timeout` in seconds."""

    url: str | None
    issuer: str
    refresh: int
    cooldown: int
    timeout: float


class RemoteRing:
    """The published keys of one issuer; see the module for what it promises."""

    def __init__(self, terms: Terms, get: Get, import_set: Import, clock: Clock) -> None:
        self._terms = terms
        self._url = terms.url
        self._get = get
        self._import = import_set
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._etag: str | None = None
        self._answered: int | None = None
        self._next = 0
        self._forced: int | None = None
        self._unknown: dict[str, int] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._live: frozenset[str] = frozenset()
        self.fetches = 0
        """How often the issuer was asked."""

    def holds(self, thumbprint: str, now: int) -> bool:
        """Whether a key counts; where it is time to ask again, that is begun and not waited for."""
        if not self._due(now):
            return thumbprint in self._live
        if self._answered is not None and not 0 <= now - self._answered < LONGEST_STALE:
            self._forget(now)
        _ = self._shared(now)
        return thumbprint in self._live

    def keys(self, kid: str | None) -> Sequence[Key] | Awaitable[None] | None:
        """Return the keys for this id; see `rings.Ring`."""
        now = self._clock.now()
        if self._answered is not None and not 0 <= now - self._answered < LONGEST_STALE:
            self._forget(now)
        if self._answered is None:
            return self._shared(now) if self._task() or self._due(now) else None
        if self._due(now):
            _ = self._shared(now)
        found = of_id(self._keys, kid)
        if found or kid is None or self._known_to_be_unknown(kid, now):
            return found
        if self._task() is None and self._cooling(now):
            return ()
        return self._forced_for(kid, now)

    async def close(self) -> None:
        """Stop a fetch under way."""
        task, self._fetching = self._task(), None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _due(self, now: int) -> bool:
        """Whether it is time to ask again; a clock set back by more than any wait is taken as due."""
        return not self._next - _LONGEST_FRESH <= now < self._next

    def _cooling(self, now: int) -> bool:
        return self._forced is not None and 0 <= now - self._forced < self._terms.cooldown

    def _forget(self, now: int) -> None:
        if self._clock.now() < (self._answered or 0):
            self._answered = now
            return
        logger.error("the keys of issuer %s are a day old and it does not answer: they count no longer", self._name)
        self._keys, self._live, self._answered, self._etag = (), frozenset(), None, None

    def _known_to_be_unknown(self, kid: str, now: int) -> bool:
        until = self._unknown.get(kid)
        if until is None:
            return False
        if until > now:
            return True
        del self._unknown[kid]
        return False

    async def _forced_for(self, kid: str, now: int) -> None:
        if self._task() is None:
            self._forced = now
        await self._shared(now)
        if not of_id(self._keys, kid):
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.pop(next(iter(self._unknown)))
            self._unknown[kid] = now + 2 * self._terms.cooldown

    def _task(self) -> "asyncio.Task[None] | None":
        task = self._fetching
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            return None
        return task

    def _shared(self, now: int) -> Awaitable[None]:
        """Start a fetch, or join the one under way; a caller who leaves does not stop it."""
        task = self._task()
        if task is None:
            self._next = now + (self._terms.cooldown if self._answered is not None else _RETRY_FIRST)
            task = self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        return asyncio.shield(task)

    async def _fetch(self) -> None:
        self.fetches += 1
        try:
            await self._follow()
        except Exception as error:  # noqa: BLE001  # whatever another server does to us, what is known counts on
            logger.warning("the keys of issuer %s cannot be had: %s", self._name, str(error) or type(error).__name__)

    async def _follow(self) -> None:
        if self._url is None:
            self._url = await self._discovered()
        headers = {"accept": "application/jwk-set+json, application/json"}
        if self._etag:
            headers["if-none-match"] = self._etag
        answer = await self._get(self._url, self._terms.timeout, headers)
        if answer.status != 304 or not self._keys:
            if answer.status != 200:
                raise ValueError(f"it answers {answer.status}")
            keys = tuple(self._import(json_object(answer.body)))
            self._keys, self._live = keys, frozenset(key.thumbprint for key in keys)
            self._etag = answer.headers.get("etag")
        now = self._clock.now()
        self._answered = now
        self._next = now + self._fresh_for(answer.headers.get("cache-control", ""))
        self._unknown = {kid: until for kid, until in self._unknown.items() if not of_id(self._keys, kid)}

    async def _discovered(self) -> str:
        """Ask the issuer where its keys are (OpenID Connect Discovery 1.0 §4)."""
        place = self._terms.issuer.rstrip("/") + "/.well-known/openid-configuration"
        answer = await self._get(place, self._terms.timeout, {"accept": "application/json"})
        if answer.status != 200:
            raise ValueError(f"its discovery answers {answer.status}")
        document = json_object(answer.body)
        if document.get("issuer") != self._terms.issuer:
            raise ValueError("its discovery names another issuer")
        return web_address(document.get("jwks_uri"))

    def _fresh_for(self, control: str) -> int:
        """Return how long an answer is fresh in µs: as it says, within the cooldown and a day."""
        said = _MAX_AGE.search(control.lower())
        fresh = int(said[1]) * SECOND if said else self._terms.refresh
        return max(self._terms.cooldown, min(fresh, _LONGEST_FRESH))

    @property
    def _name(self) -> str:
        return self._terms.issuer
