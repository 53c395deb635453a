"""What is stored is sealed where the policy says so; what does not open is as if it were not there."""

import json
from base64 import b64encode

import pytest

from forecourt import ConfigError, Jobs
from forecourt.core.sealed import OVERHEAD
from forecourt.stores.memory import MemoryStore
from forecourt.types import SystemClock
from tests.layers.stored import ASKED, CALLED, NEW, OLD, PLANTED, Held, Stores, dumped, started
from tests.servers import Valkey, eventually


def found(valkey: Valkey, text: str) -> list[Held]:
    """Return what a server holds that has this text in it, however it was packed."""
    spelt = [text.encode(), *(b64encode(b" " * pad + text.encode())[4:-4] for pad in range(3))]
    return [held for held in dumped(valkey) if any(each in part for each in spelt for part in held if part)]


def sealed(valkey: Valkey) -> list[Held]:
    """Return what a server holds that is a sealed record."""
    return [held for held in dumped(valkey) if held[2][:1] == b"\x01" and len(held[2]) >= OVERHEAD]


async def used(service: Stores) -> str:
    """Have everything stored that a service stores; return the address of its job."""
    assert (await service.pay()).status == (await service.record()).status == 200
    await service.config.cache.get_or_set("k", _value, ttl=60)
    report = await service.report()
    assert report.status == 202
    return report.headers["location"]


async def _value() -> str:
    return PLANTED


@pytest.mark.valkey
@pytest.mark.parametrize("at_rest", [False, True])
async def test_a_dump_of_the_store_shows_nothing_that_was_sealed(valkey: Valkey, at_rest: bool) -> None:
    """With `at_rest` off the same search finds the request of a job, its result, a replay and kept answers."""
    service = Stores(valkey.url, at_rest=at_rest)
    async with started(service):
        location = await used(service)
        await eventually(lambda: len({key for key, *_ in dumped(valkey) if key.endswith(b":cache")}) == 2)
        queued = len(found(valkey, ASKED)), len(found(valkey, CALLED))
        async with service.working():
            await service.ended(location)
        result = await service.job(location + "/result")
        assert result.body.decode().startswith(PLANTED)
        replay = await service.pay()
        assert replay.headers["idempotent-replayed"] == "true"
    places = {key.split(b":")[2] + (field or b"") for key, field, _ in found(valkey, PLANTED)}
    if at_rest:
        assert (queued, places) == ((0, 0), set())
        assert not found(valkey, CALLED)
    else:
        assert queued == (1, 2), "the job, and who looks whether it has ended"
        assert len(places) >= 4, "a replay, a result, and heads and bodies of kept answers"


@pytest.mark.valkey
async def test_two_processes_read_what_one_sealed(valkey: Valkey) -> None:
    """Replays, kept answers and results open in another process of the same keys, whose first is another one."""
    one, two = Stores(valkey.url, [OLD]), Stores(valkey.url, [NEW, OLD])
    async with started(one, two):
        location = await used(one)
        async with two.working():
            assert json.loads((await two.ended(location)).body)["status"] == "succeeded"
        assert (await one.job(location + "/result")).status == 404, "this one does not know the new key yet"
        assert (await two.job(location + "/result")).status == 200
        assert (await two.pay()).headers["idempotent-replayed"] == "true"
        assert "hit" in (await two.record()).headers["cache-status"]
        assert await two.config.cache.get_or_set("k", _other, ttl=60) == PLANTED


async def _other() -> str:
    return "made anew"


@pytest.mark.valkey
async def test_a_retired_key(valkey: Valkey) -> None:
    """What it sealed is a miss, an outcome that nobody knows, a job that is none, no result; never a 500."""
    one, two = Stores(valkey.url, [OLD]), Stores(valkey.url, [NEW])
    async with started(one, two):
        done = (await one.report()).headers["location"]
        async with one.working():
            await one.ended(done)
        waiting = await used(one)
        await eventually(lambda: any(b":cache" in key for key, *_ in dumped(valkey)))
        await refused(two)
        assert await two.config.cache.get_or_set("k", _other, ttl=60) == "made anew"
        assert (await two.job(done + "/result")).status == 404
        async with two.working():
            ended = json.loads((await two.ended(waiting)).body)
        assert (ended["status"], ended["problem"]["detail"]) == ("dead", "its envelope is not ours")


@pytest.mark.valkey
async def test_a_caller_who_waits_for_a_job(valkey: Valkey) -> None:
    """It is given the result in the first answer; one that does not open by then is none."""
    service, stranger = Stores(valkey.url), Stores(valkey.url, [OLD, NEW])
    wait = (b"prefer", b"respond-async, wait=5")
    async with started(service, stranger):
        async with service.working():
            answer = await service.report(wait)
        assert (answer.status, answer.body) == (200, f"{PLANTED} 1".encode())
        async with stranger.working():
            answer = await service.report(wait)
        assert answer.status == 202


@pytest.mark.valkey
async def test_an_operator_reads_what_the_keys_of_the_config_open(valkey: Valkey) -> None:
    """Whosever it is, with the keys; without them it is said why there is none."""
    service = Stores(valkey.url)
    async with started(service):
        location = (await service.report()).headers["location"]
        async with service.working():
            await service.ended(location)
    job = location.rpartition("/")[2]
    async with Jobs(service.config) as jobs:
        result = await jobs.result(job)
        assert result is not None
        assert result.body == f"{PLANTED} 1".encode()
    async with Jobs(Stores(valkey.url, [OLD]).config) as jobs:
        with pytest.raises(ConfigError, match="was sealed, and no key of the config opens it"):
            await jobs.result(job)


@pytest.mark.valkey
async def test_a_large_answer(valkey: Valkey) -> None:
    """It is sealed in a thread, and opens as any other."""
    large = bytes(range(256)) * 2000
    one, two = Stores(valkey.url), Stores(valkey.url)

    async def made() -> bytes:
        return large

    async with started(one, two):
        await one.config.cache.get_or_set("large", made, ttl=60)
        await eventually(lambda: len(sealed(valkey)) == 2)
        assert large[:256] not in b"".join(value for *_, value in dumped(valkey))
        assert await two.config.cache.get_or_set("large", _bytes, ttl=60) == large


async def _bytes() -> bytes:
    return b"made anew"


async def refused(service: Stores) -> None:
    """Expect that a replay and a kept answer do not open: the first is not carried out again, the other is."""
    answer = await service.pay()
    assert (answer.status, json.loads(answer.body)["type"].rpartition("/")[2]) == (409, "idempotency-outcome-unknown")
    read = await service.record()
    assert (read.status, read.headers["cache-status"]) == (200, "forecourt; fwd=miss; stored")


@pytest.mark.valkey
@pytest.mark.parametrize("at", [0, 3, 9, 20, -1, None])
async def test_a_broken_record(valkey: Valkey, at: int | None) -> None:
    """A byte changed anywhere, or all of them gone: it does not open, and nothing fails."""
    one, two = Stores(valkey.url), Stores(valkey.url)
    async with started(one, two):
        await used(one)
        await eventually(lambda: any(b":cache" in key for key, *_ in dumped(valkey)))
        records = sealed(valkey)
        assert len(records) >= 4
        with valkey.client() as client:
            for key, field, value in records:
                assert field is not None
                client.hset(key, field, b"" if at is None else _flipped(value, at))
        await refused(two)
        assert await two.config.cache.get_or_set("k", _other, ttl=60) == "made anew"


def _flipped(value: bytes, at: int) -> bytes:
    changed = bytearray(value)
    changed[at] ^= 1
    return bytes(changed)


@pytest.mark.valkey
async def test_records_change_places(valkey: Valkey) -> None:
    """The answer to one key under another: nobody is given it."""
    service = Stores(valkey.url)
    async with started(service):
        await service.pay("one")
        await service.pay("two")
        with valkey.client() as client:
            (one, field, value), (two, _, other) = sealed(valkey)
            client.hset(one, field, other)
            client.hset(two, field, value)
        assert [(await service.pay(key)).status for key in ("one", "two")] == [409, 409]


@pytest.mark.valkey
async def test_kept_answers_change_places(valkey: Valkey) -> None:
    """The answer to requests of one kind where those of another kind look: it is made anew."""
    one, two = Stores(valkey.url), Stores(valkey.url)
    async with started(one, two):
        bodies = [(await one.record(kind)).body for kind in "ab"]
        await eventually(lambda: len(sealed(valkey)) == 4)
        first, *others = sealed(valkey)
        size = {len(value) for _, field, value in (first, *others) if field}
        assert len(size) == 2, "heads and bodies"
        with valkey.client() as client:
            for length in size:
                (key, field, value), (key2, field2, value2) = (
                    held for held in (first, *others) if len(held[2]) == length
                )
                client.hset(key, (field or b"").decode("latin-1"), value2)
                client.hset(key2, (field2 or b"").decode("latin-1"), value)
        assert [(await two.record(kind)).body in bodies for kind in "ab"] == [True, True]
        assert two.runs == 2, "as many as there were places"


@pytest.mark.parametrize("place", ["memory", "valkey"])
async def test_a_rotation_fails_no_call(place: str, request: pytest.FixtureRequest) -> None:
    """Two processes go through its steps one after the other: each opens what the other has sealed, at every step."""
    url = "memory://" if place == "memory" else request.getfixturevalue("valkey").url
    store = MemoryStore(SystemClock()) if place == "memory" else None
    steps = [[OLD], [OLD, NEW], [NEW, OLD]]
    pairs = [(one, two) for at, one in enumerate(steps) for two in steps[at : at + 2]] + [([NEW, OLD], [NEW])]
    running = [(Stores(url, one, store=store), Stores(url, two, store=store)) for one, two in pairs]
    async with started(*(each for pair in running for each in pair)):
        for number, (one, two) in enumerate(running):
            before = [f"{number - 1}-{who}" for who in range(2) if number and pairs[number][1] != [NEW]]
            for key in before:
                assert {(await each.pay(key)).headers["idempotent-replayed"] for each in (one, two)} == {"true"}
            for who, (first, second) in enumerate([(one, two), (two, one)]):
                made = await first.pay(f"{number}-{who}")
                again = await second.pay(f"{number}-{who}")
                assert (made.status, again.status, again.body) == (200, 200, made.body), (number, who)
                assert again.headers["idempotent-replayed"] == "true"
            assert one.runs == two.runs == 1


@pytest.mark.valkey
async def test_the_body_of_another_head(valkey: Valkey) -> None:
    """An older body under a newer head of the same place does not open."""
    one, two = Stores(valkey.url), Stores(valkey.url)
    async with started(one, two):
        await one.record()
        await eventually(lambda: len(sealed(valkey)) == 2)
        before = {(key, field): value for key, field, value in sealed(valkey)}
        with valkey.client() as client:
            for key, _ in before:
                client.delete(key)
        await two.record()
        await eventually(lambda: len(sealed(valkey)) == 2)
        body = min(sealed(valkey), key=lambda held: len(held[2]))
        with valkey.client() as client:
            client.hset(body[0], body[1], before[body[:2]])
        third = Stores(valkey.url)
        async with started(third):
            assert "fwd=miss" in (await third.record()).headers["cache-status"]


@pytest.mark.parametrize("place", ["memory", "valkey"])
async def test_a_tenant_is_not_given_what_is_anothers(place: str, request: pytest.FixtureRequest) -> None:
    """The same caller in another tenant has neither the replay nor the result of before."""
    url = "memory://" if place == "memory" else request.getfixturevalue("valkey").url
    service = Stores(url)
    async with started(service):
        await service.pay()
        location = (await service.report()).headers["location"]
        if place == "valkey":
            async with service.working():
                await service.ended(location)
        else:
            await service.ended(location)
        assert (await service.pay(tenant="other")).status == 409
        assert (await service.job(location + "/result", tenant="other")).status == 404
        assert (await service.job(location + "/result")).status == 200
        assert (await service.pay()).headers["idempotent-replayed"] == "true"


async def test_rotation_in_memory() -> None:
    """With the memory store too: an old key behind a new one opens, a retired one leaves an outcome nobody knows."""
    store = MemoryStore(SystemClock())
    one, two, three = (Stores("memory://", keys, store=store) for keys in ([OLD], [NEW, OLD], [NEW]))
    async with started(one, two, three):
        first = await one.pay()
        replay = await two.pay()
        assert (replay.body, replay.headers["idempotent-replayed"]) == (first.body, "true")
        assert (await three.pay()).status == 409
        assert [service.runs for service in (one, two, three)] == [1, 0, 0]


@pytest.mark.valkey
async def test_what_was_stored_in_plain_before_is_not_believed(valkey: Valkey) -> None:
    """Whoever can write to the store could put it there; what was queued is signed, and is run."""
    before, after = Stores(valkey.url, at_rest=False), Stores(valkey.url)
    async with started(before, after):
        done = (await before.report()).headers["location"]
        async with before.working():
            await before.ended(done)
        waiting = await used(before)
        await eventually(lambda: any(b":cache" in key for key, *_ in dumped(valkey)))
        await refused(after)
        assert (await after.job(done + "/result")).status == 404
        async with after.working():
            assert json.loads((await after.ended(waiting)).body)["status"] == "succeeded"


@pytest.mark.valkey
async def test_what_was_sealed_before_it_was_switched_off(valkey: Valkey) -> None:
    """Results and queued jobs still open; kept answers are made anew."""
    before, after = Stores(valkey.url), Stores(valkey.url, at_rest=False)
    async with started(before, after):
        done = (await before.report()).headers["location"]
        async with before.working():
            await before.ended(done)
        waiting = await used(before)
        await eventually(lambda: any(b":cache" in key for key, *_ in dumped(valkey)))
        await refused(after)
        assert (await after.job(done + "/result")).status == 200
        async with after.working():
            assert json.loads((await after.ended(waiting)).body)["status"] == "succeeded"
