"""The store on a real server: the contract, one trip, the server's time and expiry."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from forecourt.core.operations import _registry
from forecourt.errors import StoreDown
from forecourt.stores.contract import Question, Settlement
from forecourt.stores.redis.client import Client, Reply
from forecourt.stores.redis.store import RedisStore
from forecourt.stores.redis.trips import deciding
from forecourt.testing import FakeClock
from forecourt.testing.store_contract import StoreContract, bucket, charge, quiet, sliding, window
from forecourt.types import SECOND
from tests.servers import Valkey

pytestmark = pytest.mark.valkey


@pytest.fixture
def clock() -> FakeClock:
    """Time stands still until a test lets it pass."""
    return FakeClock()


@pytest.fixture
async def store(valkey: Valkey, clock: FakeClock) -> AsyncIterator[RedisStore]:
    """A store that decides by the clock, on an empty server."""
    store = RedisStore(Client(valkey.url, deadline=10), clock=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def live(valkey: Valkey) -> AsyncIterator[RedisStore]:
    """A store as in production: the server tells the time."""
    store = RedisStore(Client(valkey.url, deadline=10))
    await store.open()
    yield store
    await store.close()


class TestRedisStore(StoreContract):
    """The store on a server does what every store does."""


def server_time(valkey: Valkey) -> int:
    """Return the server's microseconds since the epoch."""
    seconds, microseconds = cast("list[bytes]", valkey.ask("TIME"))
    return int(seconds) * SECOND + int(microseconds)


async def test_a_call_is_one_script(valkey: Valkey, live: RedisStore) -> None:
    """However many limits and claims, the server runs one script; settlements are another."""
    await live.decide([bucket(), window(), sliding(), quiet(), charge(1)])
    assert valkey.count("evalsha") == 1
    await live.settle([Settlement("token_bucket_back", "caller", (5, SECOND, 1, 1, 0))] * 3)
    assert valkey.count("evalsha") == 2
    await live.decide([])
    await live.settle([])
    assert valkey.count("evalsha") == 2


def test_a_store_moves_to_another_loop(valkey: Valkey) -> None:
    """Forgotten on one event loop it decides on the next; before it is opened, and when it is closed, on none."""
    store = RedisStore(Client(valkey.url, deadline=10))

    async def use(*, opens: bool = False) -> str:
        if opens:
            await store.open()
        (answer,) = await store.decide([window()])
        return answer.verdict

    with pytest.raises(StoreDown, match="not open"):
        asyncio.run(use())
    assert [asyncio.run(use(opens=True)), asyncio.run(use())] == ["go", "go"]
    asyncio.run(store.close())
    with pytest.raises(StoreDown, match="not open"):
        asyncio.run(use())


async def test_the_same_questions_are_the_same_script(valkey: Valkey, live: RedisStore) -> None:
    """A script is composed and loaded once per sequence of kinds, whatever its keys and numbers."""
    for cost in range(3):
        await live.decide([bucket(cost), window()])
    assert valkey.count("script|load") == 1
    await live.decide([window(), bucket()])
    assert valkey.count("script|load") == 2


async def test_time_is_the_servers(valkey: Valkey, live: RedisStore) -> None:
    """Instants in answers are the server's: a ticket lies between now and a full bucket from now."""
    before = server_time(valkey)
    (answer,) = await live.decide([bucket()])
    after = server_time(valkey)
    assert before + SECOND <= int(answer.values[3]) <= after + SECOND


KEPT = [
    bucket(3),
    Question("token_bucket", "thirds", (5, SECOND, 3, 2, 0)),
    window(),
    sliding(),
    Question("sliding_log", "log", (5, 60 * SECOND, 3, 0)),
    Question("throttle", "throttle", (SECOND, 3, 10 * SECOND, 2, 0)),
    quiet(),
    Question("debounce_trailing", "trailing", (SECOND, 0, 0, "a")),
]


ENDS: dict[str, Callable[..., float]] = {
    "token_bucket": lambda tat, rest, _span: tat + (rest > 0),
    "fixed_window": lambda end, _count: end,
    "sliding_window": lambda start, _current, _previous, length: start + 2 * length,
    "sliding_log": lambda length, _first, _second, third: third + length,
    "throttle": lambda tat, rest, _written, _span: tat + (rest > 0),
    "debounce": lambda until, _passed: until,
    "debounce_trailing": lambda _first, due: due + 10 * SECOND,
}
"""When the state that a key holds is over, from its numbers."""


@pytest.mark.parametrize("question", KEPT, ids=lambda question: question.key)
async def test_state_lives_as_long_as_it_must(valkey: Valkey, live: RedisStore, question: Question) -> None:
    """Every key has a time to live: what its state says, rounded up to the millisecond."""
    await live.decide([question])
    state = cast("bytes", valkey.ask("GET", question.key))
    expires = cast("int", valkey.ask("PEXPIRETIME", question.key))
    count = len(state) // 8
    due = ENDS[question.kind](*struct.unpack(f"<{count}d", state[: 8 * count]))
    assert due <= 1000 * (expires + 1)  # the server's own clock counts whole milliseconds
    assert 1000 * (expires - 1) <= due + 1000


@pytest.mark.parametrize("kind", ["token_bucket", "fixed_window", "sliding_window", "sliding_log"])
async def test_what_is_given_back_whole_leaves_no_key(valkey: Valkey, store: RedisStore, kind: str) -> None:
    """A limit of which nothing is used any more has no key."""
    parameters = (5, SECOND, 1) if kind == "token_bucket" else (5, SECOND)
    (answer,) = await store.decide([Question(kind, "key", (*parameters, 2, 0))])
    assert valkey.ask("EXISTS", "key") == 1
    await store.settle([Settlement(f"{kind}_back", "key", (*parameters, 2, answer.values[3]))])
    assert valkey.ask("EXISTS", "key") == 0


async def test_a_limit_passes_again_when_it_said(live: RedisStore) -> None:
    """By the server's own clock: refused until the promise is over, then admitted, state and key being gone."""
    question = Question("fixed_window", "soon", (1, 50_000, 1, 0))
    assert (await live.decide([question]))[0].verdict == "go"
    (answer,) = await live.decide([question])
    assert answer.verdict == "refuse"
    async with asyncio.timeout(5):
        while (await live.decide([question]))[0].verdict == "refuse":
            await asyncio.sleep(0.001)


@pytest.mark.usefixtures("packaged_only")
async def test_all_operations_fit_into_one_script(valkey: Valkey, live: RedisStore) -> None:
    """Every question there is, twice over, is within Lua's limits."""
    kinds = [step.kind for step in _registry.values() if step.group == "limit"] * 2
    questions = [KEPT_BY_KIND.get(kind, bucket()) for kind in kinds]
    await live.decide([each._replace(key=f"{place}") for place, each in enumerate(questions)])
    assert valkey.count("evalsha") == 1


KEPT_BY_KIND = {question.kind: question for question in KEPT}


@pytest.mark.parametrize("reply", [b"OK", b"\1" * 41, 1, None, [1, 0, 0, 0, 0]])
@pytest.mark.parametrize("kinds", [("token_bucket",), ("token_bucket", "credits_charge"), ("idempotency_claim",)])
async def test_an_answer_that_is_none_is_a_dead_store(kinds: tuple[str, ...], reply: Reply) -> None:
    """What has another form than the script gives is no decision: nothing may be assumed granted."""
    if kinds == ("idempotency_claim",) and isinstance(reply, list):
        return  # that is its form
    with pytest.raises(StoreDown, match="answered a decision with"):
        deciding(kinds, given_time=False).answers(reply)


async def test_an_answer_ends_with_the_group_that_refused() -> None:
    """Numbers come in one piece of eight bytes each; those of operations that did not run are missing, and these go."""
    trip = deciding(("token_bucket", "token_bucket", "credits_charge"), given_time=False)
    refused = trip.answers(struct.pack("<10q", 1, 5, 0, 0, 7, 0, 0, 1 << 40, -1, 0))
    assert [answer.verdict for answer in refused] == ["go", "refuse", "go"]
    assert [answer.granted for answer in refused] == [False, False, False]
    assert refused[1].values == (0, 1 << 40, -1, 0)
    assert [answer.granted for answer in trip.answers(struct.pack("<15q", *[1] * 15))] == [True] * 3


async def test_a_counter_of_ten_admits_ten_of_a_thousand_from_many_clients(valkey: Valkey) -> None:
    """Eight clients with 125 calls each at once on one limit of ten: ten pass."""
    stores = [RedisStore(Client(valkey.url, deadline=10)) for _ in range(8)]
    question = Question("fixed_window", "shared", (10, 60 * SECOND, 1, 0))
    try:
        await asyncio.gather(*[store.open() for store in stores])
        answers = await asyncio.gather(*[store.decide([question]) for store in stores for _ in range(125)])
    finally:
        await asyncio.gather(*[store.close() for store in stores])
    assert sum(answer.verdict == "go" for (answer,) in answers) == 10
