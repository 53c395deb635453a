"""Offload: the call is answered at once, the handler runs elsewhere, and only its owner sees what became of it."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router

from forecourt import Credits, EndpointPolicy, Idempotency, JobConfig, Offload, PolicyMiddleware
from forecourt.errors import StoreDown
from forecourt.exchange import Exchange
from forecourt.inspection import stack_of
from forecourt.jobs.memory import MemoryQueue
from forecourt.layers.credits import CLAIM, LedgerClaim
from forecourt.layers.offload import idempotency_key
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question
from forecourt.testing import FakeClock
from forecourt.types import Scope
from tests.asgi import call, http
from tests.callers import settle_down
from tests.jobs.services import JSON, Reports
from tests.servers import Valkey
from tests.services import text


async def test_a_call_is_a_job() -> None:
    """202 with a place to look, before the handler ends; then its own answer is there."""
    service = Reports()
    service.go_on.clear()
    answer = await service.post()
    assert answer.status == 202
    body = json.loads(answer.body)
    location = answer.headers["location"]
    assert (location, answer.headers["retry-after"]) == (f"/jobs/{body['id']}", "1")
    assert body == {"id": body["id"], "status": "queued", "links": {"self": location, "result": f"{location}/result"}}
    await settle_down()
    assert (await service.status_of(location))["status"] == "running"
    assert (await service.ask("GET", f"{location}/result")).status == 404
    service.go_on.set()
    await settle_down()
    assert (await service.status_of(location))["status"] == "succeeded"
    result = await service.ask("GET", f"{location}/result")
    assert (result.status, json.loads(result.body)) == (200, {"name": "a", "size": 3, "lines": 1})
    assert result.headers["cache-control"] == "private, no-store"
    assert len(service.runs) == 1


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/reports/a", {"size": "many"}, ["body", "size"]),
        ("/reports/a", {}, ["body", "size"]),
        ("/reports/a?lines=0", {"size": 1}, ["query", "lines"]),
    ],
)
async def test_what_does_not_fit_the_handler_is_refused_now(path: str, body: object, place: list[str]) -> None:
    """A bad payload is FastAPI's own 422 and no job."""
    service = Reports(credits_=Credits(amount=5))
    answer = await service.post(path, body)
    assert (answer.status, json.loads(answer.body)["detail"][0]["loc"]) == (422, place)
    await settle_down()
    assert service.runs == []
    assert await service.balance() == 100


async def test_only_the_owner_sees_a_job() -> None:
    """For another caller the job is 404: its status, its result, and its end."""
    service = Reports()
    location = (await service.post()).headers["location"]
    await settle_down()
    for method, path in (("GET", location), ("GET", f"{location}/result"), ("DELETE", location)):
        answer = await service.ask(method, path, user="bob")
        assert (answer.status, json.loads(answer.body)["title"]) == (404, "Not Found")
    assert (await service.ask("GET", "/jobs/default.unknown")).status == 404
    assert (await service.ask("GET", "/jobs/elsewhere.unknown")).status == 404


async def test_the_same_key_is_the_same_job() -> None:
    """A retry with its idempotency key gets the same job and pays once; another request under that key is 422."""
    service = Reports(credits_=Credits(amount=5))
    key = (b"idempotency-key", b"k1")
    first = await service.post("/reports/a", None, key)
    again = await service.post("/reports/a", None, key)
    assert json.loads(first.body)["id"] == json.loads(again.body)["id"]
    other = await service.post("/reports/a", {"size": 4}, key)
    assert other.status == 422
    someone = await service.post("/reports/a", None, key, user="bob")
    assert json.loads(someone.body)["id"] != json.loads(first.body)["id"]
    await settle_down()
    assert len(service.runs) == 2
    assert await service.balance() == 95


async def test_under_idempotency_the_202_is_replayed() -> None:
    """The retry of a key has the same job, runs nothing and pays nothing; the result outlives the key's record."""
    service = Reports(
        Offload(result_ttl=60), credits_=Credits(amount=5), idempotency=Idempotency(key="client", ttl=3600)
    )
    key = (b"idempotency-key", b"a-key-of-some-length")
    first = await service.post("/reports/a", None, key)
    await settle_down()
    again = await service.post("/reports/a", None, key)
    assert (first.status, again.status, again.headers["idempotent-replayed"]) == (202, 202, "true")
    assert again.headers["location"] == first.headers["location"]
    await settle_down()
    assert (len(service.runs), await service.balance()) == (1, 95)
    service.clock.advance(3000)
    assert (await service.ask("GET", f"{first.headers['location']}/result")).status == 200


async def test_a_full_queue_is_503_and_costs_nothing() -> None:
    """Over `max_queued` callers are refused, and nothing is published."""
    service = Reports(Offload(max_queued=1), credits_=Credits(amount=5))
    service.go_on.clear()
    assert (await service.post()).status == 202
    refused = await service.post()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    await settle_down()
    assert (len(service.runs), await service.balance()) == (1, 95)
    service.go_on.set()
    await settle_down()
    assert (await service.post()).status == 202


async def test_a_body_over_its_bound_is_413() -> None:
    """What is too large is not published."""
    service = Reports(Offload(max_body=10))
    assert (await service.post(body={"size": 1_000_000})).status == 413
    await settle_down()
    assert service.runs == []


async def test_a_caller_may_prefer_a_job() -> None:
    """With `prefer` the handler answers itself unless the caller says respond-async (RFC 7240)."""
    service = Reports(Offload(mode="prefer"))
    direct = await service.post()
    assert (direct.status, direct.headers["vary"]) == (200, "Prefer")
    job = await service.post("/reports/a", None, (b"prefer", b"respond-async"))
    assert (job.status, job.headers["preference-applied"]) == (202, "respond-async")


async def test_a_caller_may_wait() -> None:
    """With `wait=N` the handler's own answer comes where it is there in time, else 202."""
    service = Reports()
    waiting = asyncio.ensure_future(service.post("/reports/a", None, (b"prefer", b"respond-async, wait=2")))
    await settle_down()
    await service.advance(0.5)
    assert (await waiting).status == 200
    service.go_on.clear()
    waiting = asyncio.ensure_future(service.post("/reports/a", None, (b"prefer", b"wait=2")))
    await settle_down()
    await service.advance(3)
    assert (await waiting).status == 202


async def test_a_failed_job_is_tried_again_and_then_dead() -> None:
    """Each failure is followed by another attempt until none is left; then the caller's credits come back, once."""
    service = Reports(Offload(max_attempts=2), credits_=Credits(amount=5))
    service.fails = 5
    location = (await service.post()).headers["location"]
    await settle_down()
    assert (await service.status_of(location))["status"] == "queued"
    assert await service.balance() == 95
    await service.advance(2)
    shown = await service.status_of(location)
    assert (shown["status"], shown["attempts"]) == ("dead", 2)
    assert shown["problem"]["detail"] == "the handler raised an exception"  # type: ignore[index]  # JSON
    assert len(service.runs) == 2
    assert await service.balance() == 100


async def test_a_refund_that_the_store_does_not_take_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, and the job has ended all the same."""
    service = Reports(Offload(max_attempts=1), credits_=Credits(amount=5))
    service.fails = 1
    decide = service.store.decide

    async def gone(questions: Sequence[Question]) -> list[Answer]:
        if any(question.kind == "credits_grant" for question in questions):
            raise StoreDown("gone")
        return await decide(questions)

    monkeypatch.setattr(service.store, "decide", gone)
    location = (await service.post()).headers["location"]
    await settle_down()
    assert (await service.status_of(location))["status"] == "dead"
    assert "a job's refund is lost: gone" in caplog.text
    assert await service.balance() == 95


async def test_a_cancelled_job_is_not_refunded() -> None:
    """Whatever a call that is cancelled costs; also where a worker that buries it finds it so."""
    service = Reports(Offload(delay=60), credits_=Credits(amount=5, refund_on={"5xx", "timeout", "cancelled"}))
    location = (await service.post()).headers["location"]
    assert (await service.ask("DELETE", location)).status == 204
    jobs, name = stack_of(service.api, "offload").jobs, location.rpartition("/")[2]
    queue = jobs.queues.queue("default")
    assert isinstance(queue, MemoryQueue)
    record = await queue.look(name)
    assert record is not None
    request = jobs.queues.envelopes("default").open(name, queue._jobs[name].given.envelope)
    assert request.refund is not None
    await jobs.ended(request, record, 0)
    assert (record.status, await service.balance()) == ("cancelled", 95)


async def test_a_router_without_an_app_has_its_jobs_run() -> None:
    """In a scope that names no app, as the call's did not."""
    seen: list[Scope] = []

    async def work(request: Request) -> Response:
        seen.append(request.scope)
        return Response()

    config = JobConfig(default=EndpointPolicy(), endpoints={"work": EndpointPolicy(offload=Offload())})
    jobs = Mount("/jobs", config.jobs, name="jobs")
    router = Router(routes=[Route("/work", work, methods=["POST"], name="work"), jobs])
    app = PolicyMiddleware(router, config=config, clock=FakeClock())
    assert (await call(app, http("/work", "POST"))).status == 202
    await settle_down()
    assert [(scope["path"], "app" in scope) for scope in seen] == [("/work", False)]


async def test_an_attempt_that_takes_too_long_is_stopped() -> None:
    """After `timeout` the attempt has failed; the handler is cancelled."""
    service = Reports(Offload(timeout=3, max_attempts=1))
    service.go_on.clear()
    location = (await service.post()).headers["location"]
    async with asyncio.timeout(10):
        while (await service.status_of(location))["status"] != "dead":
            await service.advance(0.5)
            await asyncio.sleep(0.05)


async def test_a_4xx_of_the_handler_is_the_result() -> None:
    """What the handler decides is not tried again."""
    service = Reports()
    service.status = 409
    location = (await service.post()).headers["location"]
    await settle_down()
    assert (await service.status_of(location))["status"] == "succeeded"
    assert (await service.ask("GET", f"{location}/result")).status == 409


async def test_cancelling_ends_a_running_job() -> None:
    """DELETE ends it, the handler is cancelled at the next renewal, and no result appears."""
    service = Reports()
    service.go_on.clear()
    location = (await service.post()).headers["location"]
    await settle_down()
    assert (await service.ask("DELETE", location)).status == 204
    assert (await service.ask("DELETE", location)).status == 204
    await service.advance(2)
    service.go_on.set()
    await settle_down()
    assert (await service.status_of(location))["status"] == "cancelled"
    assert (await service.ask("GET", f"{location}/result")).status == 404


async def test_an_ended_job_cannot_be_cancelled() -> None:
    """DELETE of what has a result is 409, and the result stays."""
    service = Reports()
    location = (await service.post()).headers["location"]
    await settle_down()
    assert (await service.ask("DELETE", location)).status == 409
    assert (await service.ask("GET", f"{location}/result")).status == 200


async def test_progress_is_shown_and_waited_for() -> None:
    """The owner sees how far it has come; with its ETag and `Prefer: wait` news are answered as they come."""
    service = Reports()
    service.go_on.clear()
    location = (await service.post()).headers["location"]
    await service.advance(2)
    answer = await service.ask("GET", location)
    shown = json.loads(answer.body)
    assert (shown["progress"], shown["note"]) == (0.5, "half")
    known = (b"if-none-match", answer.headers["etag"].encode())
    assert (await service.ask("GET", location, known)).status == 304
    waiting = asyncio.ensure_future(service.ask("GET", location, known, (b"prefer", b"wait=10")))
    await service.advance(1)
    assert not waiting.done()
    service.go_on.set()
    await service.advance(1)
    assert json.loads((await waiting).body)["status"] == "succeeded"


async def test_no_credential_reaches_the_worker() -> None:
    """The handler sees fields of the allow-list, and none that carries a credential."""
    service = Reports(Offload(headers=frozenset({"X-Kind"})))
    secret = [(b"authorization", b"Bearer s3cret"), (b"cookie", b"a=s3cret"), (b"x-kind", b"big"), (b"x-more", b"1")]
    await service.post("/reports/a", None, *secret)
    await settle_down()
    (request,) = service.seen
    assert set(request.headers) == {"host", "content-type", "content-length", "x-kind"}


async def test_a_result_is_forgotten_when_its_time_is_over() -> None:
    """After `result_ttl` the job is 404 for its owner too, and the queue is empty."""
    service = Reports(Offload(result_ttl=60))
    location = (await service.post()).headers["location"]
    await settle_down()
    service.clock.advance(61)
    assert (await service.ask("GET", location)).status == 404


async def test_with_the_queue_down_nothing_is_published(valkey: Valkey) -> None:
    """503 for callers and for those who look; credits are untouched; once it is back all is as before."""
    keys = [b"a secret of the tests, 32 bytes or more"]
    service = Reports(Offload(queue="heavy"), credits_=Credits(amount=5), queues={"heavy": valkey.url}, keys=keys)
    location = (await service.post()).headers["location"]
    valkey.stop()
    assert (await service.post()).status == 503
    for method, path in (("GET", location), ("GET", f"{location}/result"), ("DELETE", location)):
        answer = await service.ask(method, path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    await settle_down()
    assert await service.balance() == 95
    valkey.start()
    assert service.runs == []


async def test_a_caller_who_leaves_publishes_nothing() -> None:
    """A request that is not whole is no job."""
    service = Reports()
    scope = http("/reports/a", "POST", headers=[JSON])
    answer = await call(service.app, scope, {"type": "http.request", "body": b"{", "more_body": True})
    assert answer.messages == []
    await settle_down()
    assert service.runs == []


async def test_a_job_of_an_endpoint_that_is_gone_dies(caplog: pytest.LogCaptureFixture) -> None:
    """It is never run by another endpoint that stands at its path by now."""
    service = Reports(Offload(max_attempts=1, delay=5))
    location = (await service.post()).headers["location"]
    service.api.router.routes.insert(0, Route("/reports/{name}", text, methods=["POST"], name="other"))
    assert (await service.ask("GET", location)).status == 200
    await service.advance(7)
    assert (await service.status_of(location))["status"] == "dead"
    assert service.runs == []


async def test_a_claim_names_the_job() -> None:
    """An idempotency layer above says under which key it claimed the call, whatever the header was called."""
    service = Reports()
    exchange = Exchange(Runtime(service.config, service.store, service.clock), http("/", headers=[]))
    assert idempotency_key(exchange) is None
    exchange.notes[CLAIM] = LedgerClaim("claimed", 1)
    assert idempotency_key(exchange) == "claimed"


def test_a_queue_says_how_full_it_is() -> None:
    """Its repr is for people."""
    assert repr(MemoryQueue()) == "<MemoryQueue of 0 jobs>"


async def test_a_result_that_is_gone_again_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for it is told where the job is to be seen, as if it had not ended."""
    service = Reports()

    async def gone(_queue: MemoryQueue, _job: str) -> None:
        return None

    monkeypatch.setattr(MemoryQueue, "result", gone)
    waiting = asyncio.ensure_future(service.post("/reports/a", None, (b"prefer", b"wait=2")))
    await service.advance(2)
    answer = await waiting
    assert (answer.status, json.loads(answer.body)["status"]) == (202, "succeeded")


async def test_a_job_that_nobody_can_see_any_more_has_no_place() -> None:
    """The app has taken its pages of jobs away while it ran: calls are still jobs, of which no address is told."""
    service = Reports()
    assert "location" in (await service.post()).headers
    service.api.router.routes[:] = [route for route in service.api.router.routes if route.name != "jobs"]  # type: ignore[attr-defined]  # all have one
    answer = await service.post()
    body = json.loads(answer.body)
    assert (answer.status, body["status"], set(body)) == (202, "queued", {"id", "status"})
    assert "location" not in answer.headers
    await settle_down()
    assert len(service.runs) == 2
