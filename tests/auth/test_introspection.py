"""Opaque tokens are asked of the server that issued them: once for all, briefly remembered, never guessed."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from forecourt import Introspection, Security, TokenCache
from forecourt.shared import _shared
from tests.auth.provider import Mood, Provider, providing, until
from tests.auth.service import Guarded

NOW = 1_700_000_000


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A server that knows the token `good`."""
    async with providing() as running:
        running.introspect = lambda form: (
            {
                "active": True,
                "sub": "dora",
                "scope": "read",
                "exp": NOW + 60,
                "aud": "tests",
                "iss": "https://opaque.example",
            }
            if "token=good" in form
            else {"active": False}
        )
        yield running


def asking(provider: Provider, security: Security | None = None, **policy: object) -> Guarded:
    """Build a service that asks this server, and believes signed tokens too."""
    given = {
        "url": f"{provider.url}/introspect",
        "issuer": "https://opaque.example",
        "client_id": "records",
        "client_secret": "a secret",
        **policy,
    }
    return Guarded(security, introspection=Introspection.model_validate(given))


async def close(service: Guarded) -> None:
    """Close what asks others."""
    await _shared[service.config].runtime.stop()


async def test_an_active_token_counts(provider: Provider) -> None:
    """Its claims say who is calling; the server is asked with the client's credentials, and again after `ttl`."""
    service = asking(provider, Security(scopes={"read"}))
    for _ in range(3):
        answer = await service.bearing("good")
        assert (answer.status, json.loads(answer.body)["subject"]) == (200, "dora")
    assert provider.asked["/introspect"] == 1
    assert "authorization: basic " in provider.requests[0].lower()
    assert "token_type_hint=access_token" in provider.requests[0]
    service.clock.advance(10)
    assert (await service.bearing("good")).status == 200
    assert provider.asked["/introspect"] == 2
    service.clock.advance(60)
    assert (await service.bearing("good")).status == 401
    assert (await service.bearing(service.token(scopes={"read"}))).status == 200
    await close(service)


async def test_what_is_not_active_is_not_remembered(provider: Provider) -> None:
    """It is asked for each time; and with `ttl=0` so is what is."""
    service = asking(provider, ttl=0)
    assert [(await service.bearing(token)).status for token in ("bad", "bad", "good", "good")] == [401, 401, 200, 200]
    assert provider.asked["/introspect"] == 4
    await close(service)


async def test_all_who_show_a_token_at_once_ask_once(provider: Provider) -> None:
    """Fifty callers, one question; one who leaves does not stop it."""
    provider.mood = "stalling"
    service = asking(provider)
    waiting = [asyncio.ensure_future(service.bearing("good")) for _ in range(50)]
    await until(lambda: provider.asked.get("/introspect") == 1)
    waiting[0].cancel()
    provider.mood = "good"
    provider.go_on.set()
    assert {answer.status for answer in await asyncio.gather(*waiting[1:])} == {200}
    assert provider.asked["/introspect"] == 1
    await close(service)


@pytest.mark.parametrize("mood", ["gone", "failing", "garbage", "not a set", "empty", "huge", "redirecting"])
async def test_a_server_that_cannot_tell(provider: Provider, mood: Mood) -> None:
    """503: nobody knows."""
    provider.mood = mood
    service = asking(provider)
    assert (await service.bearing("good")).status == 503
    await close(service)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "others"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"sub": None},
        {"exp": NOW - 60},
        {"cnf": {"jkt": "x"}},
    ],
)
async def test_claims_are_judged_like_a_tokens(provider: Provider, claims: dict[str, object]) -> None:
    """An answer for another audience or issuer, without a subject, expired, or for a bound token shown as Bearer."""
    said = {"active": True, "sub": "dora", "aud": "tests", **claims}
    provider.introspect = lambda _: {name: value for name, value in said.items() if value is not None}
    service = asking(provider, audience="tests")
    assert (await service.bearing("good")).status == 401
    await close(service)


async def test_closing_stops_the_asking(provider: Provider) -> None:
    """No task is left behind."""
    provider.mood = "stalling"
    service = asking(provider)
    waiting = asyncio.ensure_future(service.bearing("good"))
    await until(lambda: provider.asked.get("/introspect") == 1)
    await close(service)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_oldest_of_too_many_tokens_makes_room(provider: Provider) -> None:
    """A process remembers as many as the config says."""
    service = asking(provider)
    service = Guarded(introspection=service.config.introspection, token_cache=TokenCache(size=1))
    provider.introspect = lambda _: {"active": True, "sub": "dora"}
    for token, asked in (("a", 1), ("b", 2), ("b", 2), ("a", 3)):
        assert (await service.bearing(token)).status == 200
        assert provider.asked["/introspect"] == asked
    await close(service)
