"""For tests of services that use forecourt: a clock that stands still, and an issuer that signs what it is told."""

import asyncio
import heapq
from collections.abc import Collection
from itertools import count

from forecourt.policies import Issuer
from forecourt.revocations import new_id
from forecourt.types import SECOND, Clock, SystemClock


class FakeClock:
    """A `Clock` whose time passes only by `advance`.

    `start` is the first instant in microseconds since the epoch. Sleepers wake in the order of their times, once
    the clock has been advanced far enough in all; setting the clock back neither wakes nor delays them, as with
    the timers of an event loop.
    """

    def __init__(self, start: int = 1_700_000_000_000_000) -> None:
        self._now = start
        self._passed = 0
        self._order = count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"<FakeClock {self._now}, {len(self._sleepers)} sleeping>"

    def now(self) -> int:
        """Return microseconds since the epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass, rounded to the microsecond; a negative number sets the clock back."""
        step = round(seconds * SECOND)
        self._now += step
        self._passed += max(0, step)
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by `seconds` in all; at once when that is no microsecond."""
        wait = round(seconds * SECOND)
        if wait <= 0:
            return
        sleeper = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + wait, next(self._order), sleeper))
        await sleeper


class FakeIssuer:
    """An issuer with a key of its own, for tests: `JobConfig(issuers=[fake.policy], …)`, `fake.headers(scopes={…})`.

    `clock` says when tokens are issued; they count for an hour unless `exp` is given. Needs the extra `auth`.
    """

    def __init__(
        self,
        issuer: str = "https://issuer.example",
        audience: str = "tests",
        *,
        algorithm: str = "ES256",
        clock: Clock | None = None,
        **policy: object,
    ) -> None:
        from forecourt.auth.jose import SigningKey  # noqa: PLC0415  # the extra `auth` is optional

        self.issuer = issuer
        self.audience = audience
        self.key: SigningKey = SigningKey.generate(algorithm, kid=new_id())
        self._clock = clock or SystemClock()
        self._policy = policy

    @property
    def policy(self) -> Issuer:
        """The issuer as a config names it."""
        fields = {"keys": [self.key.jwk()], "algorithms": [self.key.algorithm], **self._policy}
        return Issuer.model_validate({"issuer": self.issuer, "audience": self.audience, **fields})

    def token(
        self,
        subject: str = "alice",
        *,
        scopes: Collection[str] = (),
        roles: Collection[str] | None = (),
        header: dict[str, object] | None = None,
        **claims: object,
    ) -> str:
        """Sign a token; `claims` replace what it would say by itself, those that are None are left out."""
        now = self._clock.now() // SECOND
        said: dict[str, object] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "iat": now,
            "exp": now + 3600,
            "jti": new_id(),
            "scope": " ".join(sorted(scopes)),
            "roles": None if roles is None else sorted(roles),
            **claims,
        }
        told = {name: value for name, value in said.items() if value is not None}
        return self.key.sign(told, {"typ": "at+jwt", **(header or {})})

    def headers(
        self, subject: str = "alice", *, scopes: Collection[str] = (), roles: Collection[str] = ()
    ) -> dict[str, str]:
        """Return the header that shows a token."""
        return {"authorization": f"Bearer {self.token(subject, scopes=scopes, roles=roles)}"}
