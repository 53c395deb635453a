"""Revocations, used proofs and the book of keys: the same history in Python and in Lua, the same answers."""

import random

import pytest
import redis

from forecourt.core.operations import VERDICTS, Arg
from forecourt.core.plans import CHECKS, KEY_BOOK
from forecourt.core.revocation import ALWAYS
from forecourt.stores.contract import Question, Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from tests.core.bench import examples
from tests.core.twins import Served
from tests.servers import Valkey

pytestmark = pytest.mark.valkey

GROUPS = {operation.kind: operation.group for operation in (*CHECKS, *KEY_BOOK)}
KEYS = {
    "revoked": "r",
    "revoke": "r",
    "proof_use": "p",
    "key_find": "b",
    "key_put": "b",
    "key_drop": "b",
    "key_list": "b",
}
INSTANTS = (1, 1_699_999_999 * SECOND, 1_700_000_000 * SECOND, 1_700_000_001 * SECOND, ALWAYS)


def step(dice: random.Random, now: int) -> tuple[str, tuple[Arg, ...]]:
    """Draw an operation."""
    match dice.choice(sorted(GROUPS)):
        case "revoked":
            return "revoked", (dice.choice((0, *INSTANTS, now)),)
        case "revoke":
            return "revoke", (dice.choice((*INSTANTS, now)), dice.choice((1, SECOND, 10 * SECOND)))
        case "proof_use":
            return "proof_use", (dice.choice("abc"), dice.choice((1, SECOND, 10 * SECOND)))
        case "key_put":
            return "key_put", (dice.choice("xyz"), dice.choice(("one", "two", b"three")))
        case "key_list":
            return "key_list", (dice.choice((1, 100)),)
        case kind:
            return kind, (dice.choice("xyz"),)


async def test_both_twins_answer_alike(valkey: Valkey) -> None:
    """Whatever is asked, told and forgotten, in whatever order, also when the clock is set back."""
    client = redis.Redis.from_url(valkey.url)
    there = Served(client)
    for seed in range(examples(30)):
        dice, clock = random.Random(seed), FakeClock()
        store = MemoryStore(clock)
        client.flushall()
        for _ in range(60):
            clock.advance(dice.choice((0, 0, 0, 0.000001, 0.999999, 1, 10)))
            kind, args = step(dice, clock.now())
            there.now = clock.now()
            served = there(kind, KEYS[kind], *args)
            if GROUPS[kind] == "settle":
                await store.settle([Settlement(kind, KEYS[kind], args)])
                continue
            (answer,) = await store.decide([Question(kind, KEYS[kind], args)])
            if kind == "key_list":
                known = {frozenset(bytes(value).split(b"\n")) for value in (answer.values[0], served[1])}
                assert len(known) == 1 or args == (1,)
                continue
            assert [VERDICTS.index(answer.verdict), *answer.values] == served, (seed, kind, args)
    client.close()
