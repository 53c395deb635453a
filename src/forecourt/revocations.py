"""Revocations as operators use them: a token by its `jti`, or all that a subject was given up to an instant.

    revocations = Revocations(store, config.namespace)
    await revocations.revoke_token("https://issuer.example", "f9a1…")
    await revocations.revoke_subject("https://issuer.example", "alice")

They hold for every process of the same store from the moment the call returns, where the config says `revocation`, and
are remembered for `keep` seconds: give as long as such a token could still be shown. An API key is revoked like a
token: the issuer is the config's `api_keys.issuer`, its id is the middle part of the key.
"""

import os
from collections.abc import Sequence

from forecourt.auth.credentials import Credential
from forecourt.core.revocation import ALWAYS
from forecourt.principals import Keys, digest
from forecourt.stores.contract import Question, Settlement, Store
from forecourt.types import SECOND, Clock, SystemClock

DAY = 86_400


class Revocations:
    """Revokes in an open store; every method raises StoreDown or StoreOverloaded when the store does not answer."""

    def __init__(self, store: Store, namespace: str = "fc", clock: Clock | None = None) -> None:
        self._store = store
        self._keys = Keys(namespace)
        self._clock = clock or SystemClock()

    async def revoke_token(self, issuer: str, id: str, *, keep: float = 30 * DAY) -> None:  # noqa: A002  # its word
        """Refuse the token with this `jti`, or the API key with this id, from now on."""
        await self._revoke(token_key(self._keys, issuer, id), ALWAYS, keep)

    async def revoke_subject(
        self, issuer: str, subject: str, *, before: float | None = None, keep: float = 30 * DAY
    ) -> None:
        """Refuse what was issued to a subject up to `before` (seconds since the epoch; default: now).

        Tokens that do not say when they were issued are refused as well.
        """
        instant = self._clock.now() if before is None else round(before * SECOND)
        if not 0 < instant < ALWAYS:
            raise ValueError(f"before {before} is no instant")
        await self._revoke(subject_key(self._keys, issuer, subject), instant, keep)

    async def _revoke(self, key: str, instant: int, keep: float) -> None:
        kept = round(keep * SECOND)
        if not 0 < kept < ALWAYS // 2:
            raise ValueError(f"keep {keep} must be a number of seconds above 0")
        await self._store.settle([Settlement("revoke", key, (instant, kept))])


def questions_of(keys: Keys, credential: Credential) -> list[Question]:
    """Ask whether a caller's token and subject are revoked; the token first: on a cluster it is alone in its slot."""
    principal = credential.principal
    asked: list[Question] = []
    if credential.id is not None:
        key = token_key(keys, principal.issuer, credential.id)
        asked.append(Question("revoked", key, (credential.issued,), "closed"))
    key = subject_key(keys, principal.issuer, principal.subject)
    asked.append(Question("revoked", key, (credential.issued,), "closed"))
    return asked


def proof_question(keys: Keys, credential: Credential, proof: str, call: str, keep: int) -> Question:
    """Ask to use a proof, for `call`; remembered for `keep` µs."""
    principal = credential.principal
    key = keys.key("proof", digest(proof, credential.thumbprint or ""), *_subject(principal.issuer, principal.subject))
    return Question("proof_use", key, (call, keep), "closed")


def token_key(keys: Keys, issuer: str, id: str) -> str:  # noqa: A002  # its word
    """Return the key of a token's revocation."""
    return keys.key("revoked", "token", "token", issuer, id)


def subject_key(keys: Keys, issuer: str, subject: str) -> str:
    """Return the key of a subject's revocation; in one slot with the subject's limits."""
    return keys.key("revoked", "subject", *_subject(issuer, subject))


def _subject(issuer: str, subject: str) -> Sequence[str]:
    return ("principal", issuer, subject)


def new_id() -> str:
    """Return 96 random bits, for tokens that can be revoked."""
    return os.urandom(12).hex()
