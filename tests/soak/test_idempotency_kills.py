"""The short form of the kill -9 trials; the whole one is `python -m tests.soak.idempotency_kills`."""

import json

import pytest

from tests.asgi import Answer
from tests.core.bench import examples
from tests.servers import Valkey
from tests.soak.idempotency_kills import main, outcome_of


@pytest.mark.slow
@pytest.mark.valkey
async def test_killed_workers_leave_no_double_run(valkey: Valkey) -> None:
    """Nothing is carried out twice, and no key is in progress past its lease."""
    assert await main(examples(20), valkey.url) == 0


def test_outcomes_are_told_apart() -> None:
    """A trial would not see a fault that it took for something else."""

    def answer(status: int, kind: str = "", *, replayed: bool = False) -> Answer:
        headers = [(b"idempotent-replayed", b"true")] if replayed else []
        start = {"type": "http.response.start", "status": status, "headers": headers}
        return Answer([start, {"type": "http.response.body", "body": json.dumps({"type": f"x/{kind}"}).encode()}])

    assert outcome_of(answer(201)) == "carried out"
    assert outcome_of(answer(201, replayed=True)) == "replayed"
    assert outcome_of(answer(409, "idempotency-outcome-unknown")) == "unknown"
    assert outcome_of(answer(409, "idempotency-in-progress")) == "in progress"
    assert outcome_of(answer(503, "store-unavailable")) == "store-unavailable"
