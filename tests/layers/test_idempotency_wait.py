"""Waiting for the answer of a call at work, instead of a conflict."""

from collections.abc import Sequence

import pytest

from forecourt import Ledger
from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.callers import settle_down
from tests.layers.keyed import Keyed, priced


class Counting(MemoryStore):
    """Counts the looks, and fails when it is told to."""

    looks = 0
    dead = False

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer as ever."""
        if self.dead:
            raise StoreDown("gone")
        self.looks += questions[0].kind == "idempotency_look"
        return await super().decide(questions)


def waiting(wait: float = 2, on_unknown: str = "block") -> tuple[Keyed, Counting]:
    """Build a service with a handler at work, whose callers wait."""
    clock = FakeClock()
    store = Counting(clock)
    service = Keyed(clock=clock, store=store, wait=wait, on_unknown=on_unknown)
    service.slow = True
    return service, store


async def test_a_call_waits_for_the_answer_of_another() -> None:
    """Many wait with one poller, and all get the replay; another payload gets its 422 then."""
    service, store = waiting()
    first = await service.begin()
    callers = [await service.begin() for _ in range(20)]
    other = await service.begin(body=b"other")
    await service.advance(0.5, 0.01)
    assert 10 <= store.looks <= 40
    assert not any(caller.task.done() for caller in callers)
    service.go_on.set()
    await first.end()
    await service.advance(0.1, 0.01)
    assert {(await caller.end()).headers["idempotent-replayed"] for caller in callers} == {"true"}
    assert (await other.end()).status == 422
    assert service.runs == 1


async def test_waiting_has_an_end() -> None:
    """409 after `wait` seconds; one who came later waits on."""
    service, _ = waiting(1)
    first = await service.begin()
    early = await service.begin()
    await service.advance(0.5, 0.01)
    late = await service.begin()
    await service.advance(0.51, 0.01)
    assert (early.status, late.status) == (409, None)
    assert early.answer.headers["retry-after"] == "1"
    service.go_on.set()
    await first.end()
    await service.advance(0.1, 0.01)
    assert late.status == 201


@pytest.mark.parametrize("how", ["released", "unknown", "store"])
@pytest.mark.parametrize("on_unknown", ["block", "retry"])
async def test_waiting_for_nothing(how: str, on_unknown: str) -> None:
    """When the one at work leaves no answer the caller may try again, unless nobody may."""
    service, store = waiting(on_unknown=on_unknown)
    first = await service.begin()
    other = await service.begin()
    if how == "released":
        service.answer.status_code = 422
    elif how == "unknown":
        service.answer.status_code = 500
    else:
        store.dead = True
    service.go_on.set()
    await first.end()
    await service.advance(0.2, 0.01)
    answer = await other.end()
    assert answer.status == 409
    assert ("retry-after" in answer.headers) is not (how == "unknown" and on_unknown == "block")
    assert service.runs == 1


async def test_a_waiting_call_that_is_cancelled_leaves_no_poller() -> None:
    """The last who waits takes the poller with it."""
    service, store = waiting()
    first = await service.begin()
    other = await service.begin()
    await other.cancel()
    await service.advance(0.1, 0.01)
    looks = store.looks
    await service.advance(1, 0.01)
    assert store.looks == looks
    service.go_on.set()
    await first.end()


async def test_waiting_costs_no_credits() -> None:
    """An empty account waits and gets the replay, as it asks for nothing new."""
    clock = FakeClock()
    service = Keyed(priced(2, wait=1), clock=clock)
    await Ledger(service.store).grant(("client", "192.0.2.1"), 2)
    service.slow = True
    first = await service.begin()
    other = await service.begin()
    service.go_on.set()
    await first.end()
    await service.advance(0.1, 0.01)
    assert (await other.end()).headers["idempotent-replayed"] == "true"
    assert (await service.post()).headers["idempotent-replayed"] == "true"
    await settle_down()
    assert (await Ledger(service.store).balance(("client", "192.0.2.1"))).available == 0
