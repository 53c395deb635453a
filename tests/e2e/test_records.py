"""The records example does what its start page says, with a real server and a real client."""

import asyncio
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.service import records, token
from tests.servers import Valkey

pytestmark = pytest.mark.slow


def test_the_example_in_memory() -> None:
    """Every promise of the start page, in one process with the embedded store."""
    with records() as client:
        bare = client.get("/records/1", headers={"authorization": ""})
        assert bare.status_code in (400, 401)
        assert client.get("/docs").status_code == 200
        weak = {"authorization": f"Bearer {token('read:records', 'write:records')}"}
        assert client.post("/records", json={"title": "no"}, headers=weak).status_code == 403
        operation = client.get("/openapi.json").json()["paths"]["/records/{record_id}"]["get"]
        assert operation["security"] == [{"bearer": ["read:records"]}]
        answers = [client.get("/records/1") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert answers[-1].headers["retry-after"] == "1"
        assert answers[-1].headers["content-type"] == "application/problem+json"
        time.sleep(int(answers[-1].headers["retry-after"]))
        assert client.get("/records/1").status_code == 200

        made = [client.post("/records", json={"title": "another"}) for _ in range(3)]
        assert [answer.status_code for answer in made] == [201, 201, 429]
        assert made[-1].headers["ratelimit"].startswith('"hourly";r=98;')

        time.sleep(1.1)
        once = {"Idempotency-Key": "5ff8fdc5"}
        first, again = (client.post("/records", json={"title": "once"}, headers=once) for _ in range(2))
        assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
        assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")

        begun = time.monotonic()
        assert [client.get("/records/export").status_code for _ in range(2)] == [200, 200]
        assert time.monotonic() - begun > 1.5

        guess = {"name": "ali", "password": "guess"}
        assert [client.post("/login", json=guess).status_code for _ in range(6)] == [401] * 5 + [429]
        assert [client.get("/health").status_code for _ in range(20)] == [200] * 20
        with pytest.raises(ConnectionClosed, match="1013"):
            asyncio.run(chatter(str(client.base_url).replace("http", "ws")))


def test_a_record_is_kept_until_it_is_written() -> None:
    """The second call is a hit, the one after the write shows what was written; a 304 is told to who has it."""
    with records() as client:
        answers = [client.get("/records/2") for _ in range(2)]
        assert [answer.json()["title"] for answer in answers] == ["second", "second"]
        assert answers[1].headers["cache-status"].startswith("forecourt; hit")
        assert client.put("/records/2", json={"title": "changed"}).status_code == 200
        changed = client.get("/records/2")
        assert changed.json()["title"] == "changed"
        assert changed.headers["cache-status"] == "forecourt; fwd=miss; stored"
        same = client.get("/records/2", headers={"if-none-match": changed.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")


async def chatter(url: str) -> None:
    """Say more in a second than the policy lets through."""
    async with connect(f"{url}/echo") as socket:
        for number in range(20):
            await socket.send(str(number))
            await socket.recv()


def test_two_workers_on_valkey_keep_one_limit(valkey: Valkey) -> None:
    """With a store the limit holds across processes: 40 calls over many connections, 5 pass and at most a refill."""
    with records("--store", valkey.url, "--workers", "2") as client:
        begun = time.monotonic()
        statuses = [client.get("/records/1", headers={"connection": "close"}).status_code for _ in range(40)]
        refilled = int(time.monotonic() - begun) + 1
        assert 5 <= statuses.count(200) <= 5 + refilled
        assert statuses.count(200) + statuses.count(429) == 40
