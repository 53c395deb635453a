"""Jobs of authenticated callers: their streams end with their tokens, and their keys' records say who is told."""

import asyncio
import json
import secrets
from collections.abc import Mapping

from forecourt import ApiKey, ApiKeys, EndpointPolicy, JobConfig, Offload, Security
from forecourt.core.api_key import hashed, made
from forecourt.core.webhooks import secrets_for
from forecourt.principals import digest
from forecourt.testing import FakeIssuer
from forecourt.types import SECOND
from tests.asgi import Answer, call, http
from tests.callers import Caller, settle_down
from tests.jobs.receivers import SECRET, Receiver
from tests.jobs.services import JSON, Reports
from tests.jobs.test_status import events
from tests.jobs.test_webhooks import hooks, pushed


class Guarded(Reports):
    """The service, all of whose endpoints are for authenticated callers."""

    def __init__(self, offload: Offload, **config: object) -> None:
        super().__init__(offload)
        policy = EndpointPolicy(security=Security(), offload=offload)
        self.config = JobConfig(
            default=EndpointPolicy(security=Security()),
            endpoints={"make_report": policy},
            **config,  # type: ignore[arg-type]  # the tests' own words
        )
        self.app = self.api = self._api()

    async def send(self, method: str, path: str, fields: Mapping[str, str]) -> Answer:
        """Send a request with credentials."""
        headers = [JSON, *((name.encode(), value.encode()) for name, value in fields.items())]
        body = json.dumps({"size": 3}).encode() if method == "POST" else b""
        return await call(self.app, http(path, method, headers=headers), {"type": "http.request", "body": body})


async def test_the_news_of_a_job_end_with_the_callers_token() -> None:
    """The stream is complete at `exp` and leeway though the job goes on; with a new token the caller has the rest."""
    issuer = FakeIssuer()
    service = Guarded(Offload(), issuers=[issuer.policy])
    issuer._clock = service.clock
    service.go_on.clear()
    location = (await service.send("POST", "/reports/a", issuer.headers())).headers["location"]
    await settle_down()
    until = service.clock.now() // SECOND + 5
    scope = http(f"{location}/events", headers=[(b"authorization", f"Bearer {issuer.token(exp=until)}".encode())])
    caller = Caller(service.app, scope)
    await service.advance(14)
    assert not caller.task.done()
    await service.advance(1.5)
    told = events(await asyncio.wait_for(caller.end(), 5))
    assert [each["event"] for each in told] == ["running", "running"]
    service.go_on.set()
    await settle_down()
    fields = issuer.headers() | {"last-event-id": told[-1]["id"]}
    assert [each["event"] for each in events(await service.send("GET", f"{location}/events", fields))] == ["succeeded"]


async def test_whoever_the_record_of_a_key_names_is_told() -> None:
    """Signed with the secret of the key's owner; an owner whose record names nobody has nobody told."""
    told, quiet = made("fc", secrets.choice), made("fc", secrets.choice)
    async with Receiver() as receiver:
        records = [
            ApiKey(id=told.split("_")[1], hash=hashed(told, None), owner="ali", webhook=receiver.url),
            ApiKey(id=quiet.split("_")[1], hash=hashed(quiet, None), owner="bob"),
        ]
        service = Guarded(Offload(callback="api_key"), webhooks=hooks(), api_keys=ApiKeys(keys=records))
        assert (await service.send("POST", "/reports/b", {"x-api-key": quiet})).status == 202
        answer = await service.send("POST", "/reports/a", {"x-api-key": told})
        await pushed(service, receiver, 1)
        await service.advance(2)
        (message,) = receiver.messages()
        assert (message["type"], message["data"]["id"]) == ("job.succeeded", json.loads(answer.body)["id"])  # type: ignore[index]  # JSON
        *_, principal = service.runs[-1]
        assert principal is not None
        (own,) = secrets_for(digest("principal", principal.issuer, principal.subject), [SECRET])
        receiver.verify(0, own)
