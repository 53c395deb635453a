"""The reports example as people run it: a process that serves, workers beside it, and a job from 202 to its result."""

import asyncio

import httpx
import pytest

from forecourt.core.webhooks import secrets_for
from forecourt.principals import digest
from tests.e2e.demos import answered, served
from tests.jobs.receivers import SECRET, Receiver
from tests.servers import Valkey


@pytest.mark.slow
@pytest.mark.parametrize("place", ["memory", "valkey"])
async def test_a_report_is_a_job(place: str, request: pytest.FixtureRequest) -> None:
    """From 202 to the result, the same key the same job; on Valkey another process has made it."""
    store = "memory://"
    if place == "valkey":
        valkey: Valkey = request.getfixturevalue("valkey")
        store = valkey.url
    with served("reports", store) as address:
        async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
            await answered(client)
            key = {"idempotency-key": "may"}
            first = await client.post("/reports", json={"title": "May", "rounds": 30}, headers=key)
            again = await client.post("/reports", json={"title": "May", "rounds": 30}, headers=key)
            assert (first.status_code, again.headers["location"]) == (202, first.headers["location"])
            assert (await client.post("/reports", json={"rounds": 1})).status_code == 422
            location = first.headers["location"]
            async with asyncio.timeout(60):
                while (await client.get(location)).json()["status"] != "succeeded":
                    await asyncio.sleep(0.05)
            report = (await client.get(f"{location}/result")).json()
            direct = await client.post("/reports", json={"title": "May", "rounds": 30}, headers={"prefer": "wait=30"})
            assert (direct.status_code, direct.json()["digest"]) == (200, report["digest"])
            shown = (await client.get(location)).json()
            assert (shown["attempts"], shown["status"]) == (1, "succeeded")
            deleted = await client.delete(location)
            assert deleted.status_code == 409
            now = await client.post("/reports/now", json={"title": "May", "rounds": 30})
            assert (now.status_code, now.json()["digest"]) == (200, report["digest"])
            assert [job["status"] for job in (await client.get("/jobs/")).json()["jobs"]] == ["succeeded"] * 2
            events = (await client.get(f"{location}/events")).text
            assert "event: succeeded" in events
            await told(client)


async def told(client: httpx.AsyncClient) -> None:
    """Have a receiver told of a report; it verifies with the caller's own secret."""
    async with Receiver() as receiver:
        callback = {"x-callback": receiver.url}
        made = await client.post("/reports", json={"title": "June", "rounds": 2}, headers=callback)
        async with asyncio.timeout(30):
            while not receiver.bodies:
                await asyncio.sleep(0.02)
        (message,) = receiver.messages()
        assert message["type"] == "job.succeeded"
        assert made.json()["id"] in receiver.bodies[0].decode()
        receiver.verify(0, secrets_for(digest("client", "127.0.0.1"), [SECRET])[0])
    inside = await client.post("/reports", json={"title": "May"}, headers={"x-callback": "http://169.254.169.254/"})
    assert inside.status_code == 422
