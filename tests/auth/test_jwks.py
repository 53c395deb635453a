"""Published keys are followed: rotation, stalls, garbage and hours without an answer fail no call with a valid key."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator

import pytest

from forecourt import Issuer
from forecourt.auth.compact import encoded
from forecourt.auth.jwks import LONGEST_STALE, RemoteRing
from forecourt.layers.authenticating import authentication_of
from forecourt.shared import _shared
from forecourt.testing import FakeIssuer
from forecourt.types import SECOND
from tests.auth.provider import Mood, Provider, providing, until
from tests.auth.service import Guarded, problem

HOUR = 3600


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider that publishes no key yet."""
    async with providing() as running:
        yield running


class Following(Guarded):
    """A service that follows a provider's keys; `signing` is the issuer's key of now."""

    def __init__(self, provider: Provider, *, discovery: bool = False, **terms: object) -> None:
        self.provider = provider
        name = provider.url if discovery else "https://issuer.example"
        source: dict[str, object] = {"discovery": True} if discovery else {"jwks_url": f"{provider.url}/keys"}
        policy = Issuer.model_validate({"issuer": name, "audience": "tests", **source, **terms})
        super().__init__(issuer=FakeIssuer(name), issuers=[policy])
        self.signing = FakeIssuer(name, clock=self.clock)
        provider.publish(self.signing)

    async def status(self, issuer: FakeIssuer | None = None, kid: str | None = None) -> int:
        """Call with a fresh token by this issuer's key, said to have another id."""
        header: dict[str, object] = {"kid": kid} if kid else {}
        return (await self.bearing((issuer or self.signing).token(header=header))).status

    def rotated(self) -> FakeIssuer:
        """Generate the issuer's next key."""
        return FakeIssuer(self.signing.issuer, clock=self.clock)

    async def settled(self) -> None:
        """Let a fetch under way come to its end."""
        (trusted,) = authentication_of(_shared[self.config].runtime)._issuers.values()
        assert isinstance(trusted.ring, RemoteRing)
        task = trusted.ring._task()
        if task is not None:
            await task

    async def close(self) -> None:
        """Close what asks others."""
        await _shared[self.config].runtime.stop()


async def test_keys_are_fetched_once_for_all_who_wait(provider: Provider) -> None:
    """A hundred first calls make one fetch; later calls none while the answer is fresh."""
    service = Following(provider)
    assert set(await asyncio.gather(*[service.status() for _ in range(100)])) == {200}
    service.clock.advance(299)
    assert await service.status() == 200
    assert provider.total == 1
    await service.close()


async def test_a_refresh_happens_behind_the_calls(provider: Provider) -> None:
    """A stale answer serves on while a stalling provider is asked again, once; its ETag spares the body."""
    provider.fields["etag"] = '"one"'
    service = Following(provider)
    assert await service.status() == 200
    service.clock.advance(300)
    provider.mood = "stalling"
    begun = time.monotonic()
    assert [await service.status() for _ in range(20)] == [200] * 20
    assert time.monotonic() - begun < 2
    await until(lambda: provider.total == 2)
    provider.go_on.set()
    provider.mood = "good"
    await until(lambda: 'if-none-match: "one"' in provider.requests[-1])
    assert await service.status() == 200
    await service.close()


async def test_an_answer_that_nothing_changed_is_fresh_again(provider: Provider) -> None:
    """A 304 has no body: the keys stay, and nobody asks again before they are as old as a whole answer may be."""
    provider.fields["etag"] = '"one"'
    service = Following(provider)
    assert await service.status() == 200
    service.clock.advance(300)
    assert await service.status() == 200
    await service.settled()
    service.clock.advance(299)
    assert await service.status() == 200
    await service.settled()
    assert provider.total == 2
    service.clock.advance(1)
    assert await service.status() == 200
    await service.settled()
    assert provider.total == 3
    await service.close()


async def test_max_age_is_honoured(provider: Provider) -> None:
    """The provider says how long its answer is fresh, between the cooldown and a day."""
    provider.fields["cache-control"] = "public, max-age=1000"
    service = Following(provider)
    assert await service.status() == 200
    service.clock.advance(999)
    assert await service.status() == 200
    assert provider.total == 1
    service.clock.advance(1)
    assert await service.status() == 200
    await until(lambda: provider.total == 2)
    await service.close()


async def test_rotation_fails_no_call(provider: Provider) -> None:
    """The first token by a new key brings it; tokens by the old one count while it is published, and no longer."""
    service = Following(provider)
    assert await service.status() == 200
    old = service.signing
    token = old.token()
    assert (await service.bearing(token)).status == 200
    new = service.rotated()
    provider.publish(old, new)
    assert await service.status(new) == 200
    assert await service.status(old) == 200
    assert provider.total == 2
    provider.publish(new)
    service.clock.advance(301)
    assert await service.status(new) == 200
    await until(lambda: provider.total == 3)
    await asyncio.sleep(0.05)
    assert await service.status(old) == 401
    assert (await service.bearing(token)).status == 401
    await service.close()


async def test_a_remembered_token_follows_the_removal_of_its_key(provider: Provider) -> None:
    """It is refused as soon as the refreshed set lacks the key, long before it would have been forgotten."""
    service = Following(provider, refresh=60)
    token = service.signing.token()
    assert (await service.bearing(token)).status == 200
    provider.publish(service.rotated())
    service.clock.advance(60)
    assert (await service.bearing(token)).status == 200
    await service.settled()
    assert (await service.bearing(token)).status == 401
    await service.close()


async def test_unknown_key_ids_make_one_fetch_for_each_cooldown(provider: Provider) -> None:
    """10,000 random ids: one fetch, all refused; none more until the cooldown is over; the known key counts on."""
    service = Following(provider)
    assert await service.status() == 200
    _, claims, signature = service.signing.token().split(".")
    heads = [{"alg": "ES256", "typ": "at+jwt", "kid": f"random-{number}"} for number in range(10_000)]
    tokens = [f"{encoded(json.dumps(head).encode())}.{claims}.{signature}" for head in heads]
    assert {answer.status for answer in await asyncio.gather(*map(service.bearing, tokens))} == {401}
    assert provider.total == 2
    service.clock.advance(29.9)
    assert await service.status(kid="random") == 401
    assert (await service.status(), provider.total) == (200, 2)
    service.clock.advance(0.1)
    assert await service.status(kid="random-again") == 401
    assert provider.total == 3
    service.clock.advance(31)
    assert await service.status(kid="random-again") == 401
    assert provider.total == 3
    await service.close()


async def test_an_hour_without_the_provider_fails_no_call(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """While it is gone, fails or talks garbage, what is known counts on, and it is asked once a cooldown at most."""
    caplog.set_level(logging.CRITICAL, "forecourt")
    service = Following(provider)
    assert await service.status() == 200
    moods: list[Mood] = ["gone", "failing", "garbage", "not a set", "empty", "huge", "redirecting"]
    for minute in range(60):
        provider.mood = moods[minute % len(moods)]
        before = provider.total
        service.clock.advance(60)
        assert [await service.status() for _ in range(3)] == [200] * 3
        await service.settled()
        assert provider.total - before == (minute >= 4)
    provider.mood = "good"
    service.clock.advance(60)
    assert await service.status() == 200
    await service.close()


async def test_keys_do_not_outlive_their_issuer_for_ever(provider: Provider) -> None:
    """A day after the last answer they count no longer: 503, as nobody can tell."""
    service = Following(provider)
    assert await service.status() == 200
    provider.mood = "gone"
    service.clock.advance(LONGEST_STALE // SECOND)
    answer = await service.bearing(service.signing.token())
    assert (answer.status, problem(answer)) == (503, "authentication-unavailable")
    await service.close()


async def test_a_remembered_token_does_not_outlive_them(provider: Provider) -> None:
    """It was verified a second before the keys were a day old, and counts no longer than they do."""
    service = Following(provider)
    assert await service.status() == 200
    provider.mood = "gone"
    service.clock.advance(LONGEST_STALE // SECOND - 1)
    token = service.signing.token()
    assert (await service.bearing(token)).status == 200
    await service.settled()
    service.clock.advance(30)
    answer = await service.bearing(token)
    assert (answer.status, problem(answer)) == (503, "authentication-unavailable")
    await service.close()


async def test_an_id_that_was_unknown_is_asked_for_again(provider: Provider) -> None:
    """After two cooldowns: its key may have been published since."""
    service = Following(provider)
    new = service.rotated()
    assert await service.status() == 200
    assert await service.status(new) == 401
    provider.publish(service.signing, new)
    service.clock.advance(59.9)
    assert (await service.status(new), provider.total) == (401, 2)
    service.clock.advance(0.1)
    assert (await service.status(new), provider.total) == (200, 3)
    await service.close()


async def test_before_any_key_nobody_can_tell(provider: Provider) -> None:
    """503 with Retry-After while no key was ever had; a second later it is asked again, and then it answers."""
    provider.mood = "failing"
    service = Following(provider)
    answer = await service.bearing(service.signing.token())
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert await service.status() == 503
    assert provider.total == 1
    provider.mood = "good"
    service.clock.advance(1)
    assert await service.status() == 200
    await service.close()


async def test_a_provider_that_stalls_is_given_up(provider: Provider) -> None:
    """Within `fetch_timeout`, and the loop is never blocked meanwhile."""
    provider.mood = "stalling"
    service = Following(provider, fetch_timeout=0.2)
    waiting = asyncio.ensure_future(service.status())
    ticks = 0
    while not waiting.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert await waiting == 503
    assert ticks >= 10
    await service.close()


async def test_who_leaves_does_not_stop_the_fetch(provider: Provider) -> None:
    """One of two waiting callers is cancelled; the other gets the keys."""
    provider.mood = "stalling"
    service = Following(provider)
    gone, waiting = (asyncio.ensure_future(service.status()) for _ in range(2))
    await until(lambda: provider.total == 1)
    gone.cancel()
    provider.mood = "good"
    provider.go_on.set()
    assert await waiting == 200
    assert provider.total == 1
    await service.close()


async def test_discovery_finds_the_keys(provider: Provider) -> None:
    """By the issuer's own document; one that names another issuer is not believed."""
    service = Following(provider, discovery=True)
    provider.issuer = "https://evil.example"
    assert await service.status() == 503
    provider.issuer = None
    service.clock.advance(1)
    assert await service.status() == 200
    await service.close()


async def test_a_discovery_that_fails_is_no_document(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what it answers; nobody can tell until it answers otherwise."""
    provider.mood = "failing"
    service = Following(provider, discovery=True)
    assert await service.status() == 503
    assert f"the keys of issuer {provider.url} cannot be had: its discovery answers 500" in caplog.text
    provider.mood = "good"
    service.clock.advance(1)
    assert await service.status() == 200
    await service.close()


async def test_a_shared_secret_in_a_published_set_is_no_key(provider: Provider) -> None:
    """All the world could sign with it; nor is a key meant for encryption."""
    service = Following(provider)
    oct_key = FakeIssuer(service.signing.issuer, algorithm="HS256", clock=service.clock)
    provider.published = [oct_key.key.jwk(), {**service.signing.key.jwk(), "use": "enc"}]
    assert await service.status(oct_key) == 401
    assert await service.status() == 401
    await service.close()


async def test_a_clock_set_back_locks_nobody_out(provider: Provider) -> None:
    """By two days: the keys count on, and are asked for again."""
    service = Following(provider)
    service.clock.advance(3 * 86_400)
    assert await service.status() == 200
    service.clock.advance(-2 * 86_400)
    assert await service.status() == 200
    await service.close()


async def test_closing_stops_a_fetch_under_way(provider: Provider) -> None:
    """No task is left behind."""
    provider.mood = "stalling"
    service = Following(provider)
    waiting = asyncio.ensure_future(service.status())
    await until(lambda: provider.total == 1)
    await service.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
