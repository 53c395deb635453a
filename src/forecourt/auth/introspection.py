"""Asks the server that issued an opaque token what it says (RFC 7662): once for all who show it at the same time.

Answers for active tokens are kept for the policy's `ttl` and never beyond the token's `exp`; others are not kept, so
that a token which becomes active counts at once. A server that does not answer, or not with what it should, refuses
the call with 503: nobody knows.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from forecourt.auth.compact import encoded, json_object
from forecourt.auth.credentials import Credential, Rejected, credential
from forecourt.auth.jwks import Answered
from forecourt.auth.opening import claim_paths
from forecourt.core.tokens import DESCRIPTIONS, Rules, Told, told
from forecourt.policies.issuer import Introspection
from forecourt.policies.quantities import exact, microseconds
from forecourt.policies.texts import listed
from forecourt.types import Clock

logger = logging.getLogger("forecourt")

SCHEME = "introspection"
Post = Callable[[str, float, Mapping[str, str], tuple[str, str]], Awaitable[Answered]]
"""Sends a form: (address, seconds, form, (client, secret)) → an answer; raises whatever it likes."""

Outcome = Credential | Rejected

_INACTIVE = Rejected("token", DESCRIPTIONS["inactive"])
_UNAVAILABLE = Rejected("unavailable")


class Introspector:
    """Asks about the opaque tokens of one issuer."""

    def __init__(self, policy: Introspection, post: Post, clock: Clock) -> None:
        self._policy = policy
        self._post = post
        self._clock = clock
        audience = None if policy.audience is None else frozenset(listed(policy.audience))
        self._rules = Rules(
            policy.issuer,
            audience,
            frozenset(),
            microseconds(policy.leeway),
            *claim_paths(policy),
        )
        self._timeout = float(exact(policy.fetch_timeout))
        self._asking: dict[bytes, asyncio.Task[Outcome]] = {}
        self.asked = 0
        """How often the server was asked."""

    async def verify(self, token: str) -> Outcome:
        """Return what the server says; a caller who leaves does not stop the asking for others."""
        digest = hashlib.sha256(token.encode()).digest()
        task = self._asking.get(digest)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = self._asking[digest] = asyncio.get_running_loop().create_task(self._ask(token))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop what is under way."""
        loop = asyncio.get_running_loop()
        mine = {task for task in self._asking.values() if task.get_loop() is loop}
        for task in mine:
            task.cancel()
        if mine:
            await asyncio.wait(mine)

    async def _ask(self, token: str) -> Outcome:
        self.asked += 1
        policy = self._policy
        try:
            answer = await self._post(
                policy.url,
                self._timeout,
                {"token": token, "token_type_hint": "access_token"},
                (policy.client_id, policy.client_secret),
            )
            claims = json_object(answer.body) if answer.status == 200 else None
        except Exception as error:  # noqa: BLE001  # whatever another server does to us, nobody knows
            logger.warning("introspection at %s fails: %s", policy.issuer, type(error).__name__)
            return _UNAVAILABLE
        if claims is None or not isinstance(claims.get("active"), bool):
            logger.warning("introspection at %s answers %d without `active`", policy.issuer, answer.status)
            return _UNAVAILABLE
        if not claims["active"]:
            return _INACTIVE
        return self._judged(claims, token)

    def _judged(self, claims: Mapping[str, object], token: str) -> Outcome:
        verdict = told(claims, self._rules, self._clock.now(), dated=False)
        if not isinstance(verdict, Told):
            return Rejected("token", DESCRIPTIONS[verdict])
        ath = encoded(hashlib.sha256(token.encode()).digest()) if verdict.thumbprint else ""
        return credential(verdict, SCHEME, claims, ath=ath)
