"""What an operator may do, and what of it is written down."""

import json
import logging

import pytest

from forecourt import EndpointPolicy, FixedWindow, JobConfig
from forecourt.console.actions import ACTIONS
from forecourt.policies.circuit_breaker import CircuitBreaker
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.asgi import Answer
from tests.console.served import GUARDED, ByHeader, Service, Sink, policies, until
from tests.layers.shared import Shared
from tests.servers import Valkey

KEY = b"planted-key-of-thirty-two-bytes!!"


def said(answer: Answer) -> str:
    """Return what an action answered, done or not."""
    told = json.loads(answer.body)
    return str(told.get("done") or told["detail"])


async def test_a_breaker_is_opened_and_closed() -> None:
    """For so many seconds, or as long as after a failure; what stands behind it is left alone meanwhile."""
    service = Service()
    assert (await service.act("breaker.open", breaker="upstream", seconds=90)).status == 200
    (told,) = await service.part("breakers")
    assert (told["state"], told["left"], told["of"]) == ("open", 89.0, "process")
    assert await service.visit("/guarded") == [503]
    assert (await service.act("breaker.close", breaker="upstream")).status == 200
    assert await service.visit("/guarded") == [502]
    assert "as long as after a first failure" in said(await service.act("breaker.open", breaker="upstream"))
    assert (await service.part("breakers"))[0]["state"] == "open"


async def test_a_limited_caller_begins_anew() -> None:
    """Of whom the operator knows the digest only."""
    service = Service()
    await service.visit("/limited", 3)
    (caller,) = await service.part("limited")
    assert await service.visit("/limited") == [429]
    given = {name: caller[name] for name in ("endpoint", "limit", "caller")}
    assert (await service.act("limit.reset", **given)).status == 200
    assert await service.visit("/limited", 2) == [200, 429]


async def test_a_limited_caller_begins_anew_in_a_real_store(valkey: Valkey) -> None:
    """Whichever worker is asked, as the store is everybody's."""
    limit = EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60, name="few", key="client"))
    config = JobConfig(
        default=EndpointPolicy(),
        endpoints={**GUARDED, "limited": limit},
        authenticators={"header": ByHeader()},
        store=valkey.url,
    )
    service = Service(config=config)
    assert await service.visit("/limited", 2) == [200, 429]
    (caller,) = await service.part("limited")
    answer = await service.ask(
        "api/actions/limit.reset",
        method="POST",
        body=json.dumps(
            {**{name: caller[name] for name in ("endpoint", "limit", "caller")}, "worker": "other"}
        ).encode(),
    )
    assert answer.status == 200, answer.body
    service.clock.advance(2)  # a refusal is remembered for up to a second
    assert await service.visit("/limited") == [200]


async def test_credits_are_granted_once_for_an_id() -> None:
    """And looked at, for a principal, an address or a tenant; below 0 takes away."""
    service = Service()
    whose = {"kind": "client", "address": "192.0.2.9"}
    assert "has 1000 credits" in said(await service.act("credits.look", **whose))
    for _ in range(2):
        assert "has 500 credits" in said(await service.act("credits.grant", **whose, amount=500, id="console-1"))
    assert "has 400 credits" in said(await service.act("credits.grant", **whose, amount=-100))
    principal = {"kind": "principal", "issuer": "https://issuer", "subject": "alice"}
    assert "has 5 credits" in said(await service.act("credits.grant", **principal, amount=5))


async def test_a_dead_job_is_tried_again_and_a_waiting_one_cancelled() -> None:
    """Only such as stand so."""
    service = Service()
    await service.visit("/later", method="POST")
    dead = await until(service, "default", "dead")
    which = {"queue": "default", "job": dead["id"]}
    assert (await service.act("job.cancel", **which)).status == 409
    assert (await service.act("job.retry", **which)).status == 200
    again = await until(service, "default", "dead")
    assert again["id"] == dead["id"]
    queue = service.config.jobs
    assert queue is not None
    assert (await service.act("job.retry", queue="default", job="default.nothing")).status == 409
    assert (await service.act("job.cancel", queue="default", job="default.nothing")).status == 404


UNFIT: tuple[tuple[str, dict[str, object], int], ...] = (
    ("breaker.open", {"breaker": "nobody"}, 404),
    ("breaker.open", {"breaker": "upstream", "seconds": -1}, 422),
    ("breaker.open", {"breaker": "upstream", "seconds": True}, 422),
    ("breaker.open", {"breaker": "upstream", "seconds": "soon"}, 422),
    ("breaker.close", {}, 422),
    ("breaker.close", {"breaker": "x" * 501}, 422),
    ("limit.reset", {"endpoint": "limited", "limit": "none", "caller": "A" * 16}, 422),
    ("limit.reset", {"endpoint": "limited", "limit": "few", "caller": "*}:tb1:{*"}, 422),
    ("credits.grant", {"kind": "client", "address": "192.0.2.9", "amount": 0}, 422),
    ("credits.grant", {"kind": "client", "address": "192.0.2.9", "amount": 1.5}, 422),
    ("credits.grant", {"kind": "client", "address": "192.0.2.9", "amount": True}, 422),
    ("credits.grant", {"kind": "client", "address": "192.0.2.9", "amount": 1, "id": "with space"}, 422),
    ("credits.look", {"kind": "anybody"}, 422),
    ("credits.look", {"kind": "principal", "issuer": "https://issuer"}, 422),
    ("job.cancel", {"queue": "nothing", "job": "nothing.1"}, 404),
    ("job.retry", {"queue": "default"}, 422),
)


@pytest.mark.parametrize(("kind", "given", "status"), UNFIT)
async def test_what_cannot_be_done_says_why(kind: str, given: dict[str, object], status: int) -> None:
    """As a problem with a sentence for the operator; nothing is done."""
    answer = await Service().act(kind, **given)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(said(answer)) > 10


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"' + b"x" * 5000 + b'"'])
async def test_what_is_no_action_is_refused(body: bytes) -> None:
    """Not JSON, no object, too long: 400. An action that there is not: 404."""
    service = Service()
    assert (await service.ask("api/actions/breaker.close", method="POST", body=body)).status == 400
    assert (await service.act("breaker.explode")).status == 404


async def test_what_one_worker_alone_can_do_is_not_done_by_another() -> None:
    """409: the page asks again, on another connection."""
    service = Service()
    await service.state()
    body = json.dumps({"breaker": "upstream", "worker": "elsewhere:1"}).encode()
    answer = await service.ask("api/actions/breaker.open", method="POST", body=body)
    assert (answer.status, answer.headers["connection"]) == (409, "close")
    assert (await service.part("breakers"))[0]["state"] == "closed"


async def test_a_shared_breaker_is_everybodys(valkey: Valkey) -> None:
    """Whichever worker is asked."""
    shared = EndpointPolicy(circuit_breaker=CircuitBreaker(name="upstream", shared=True))
    config = JobConfig(
        default=EndpointPolicy(),
        endpoints={**GUARDED, "guarded": shared},
        authenticators={"header": ByHeader()},
        store=valkey.url,
    )
    service = Service(config=config)
    assert (await service.part("breakers"))[0]["of"] == "fleet"
    body = json.dumps({"breaker": "upstream", "worker": "elsewhere:1"}).encode()
    assert (await service.ask("api/actions/breaker.open", method="POST", body=body)).status == 200


async def test_a_queue_that_all_workers_share_is_everybodys(valkey: Valkey) -> None:
    """Its jobs are shown and cancelled by any worker; gone, the page says so and shows the rest."""
    config = JobConfig(
        default=EndpointPolicy(),
        endpoints={**GUARDED, "later": policies()["later"]},
        authenticators={"header": ByHeader()},
        store=valkey.url,
        keys=[KEY],
    )
    service = Service(config=config)
    assert await service.visit("/later", method="POST") == [202]
    job = await until(service, "default", "queued")
    body = json.dumps({"queue": "default", "job": job["id"], "worker": "elsewhere:1"}).encode()
    answer = await service.ask("api/actions/job.cancel", method="POST", body=body)
    assert (answer.status, said(answer)) == (200, f"{job['id']} is cancelled")
    assert (await service.state())["jobs"]["queues"][0]["of"] == "fleet"
    valkey.stop()
    try:
        assert "does not answer" in (await service.state())["jobs"]["queues"][0]["why"]
    finally:
        valkey.start()


GIVEN: dict[str, dict[str, object]] = {
    "breaker.open": {"breaker": "upstream"},
    "breaker.close": {"breaker": "upstream"},
    "limit.reset": {"endpoint": "limited", "limit": "few", "caller": "A" * 16},
    "credits.look": {"kind": "tenant", "tenant": "acme"},
    "credits.grant": {"kind": "tenant", "tenant": "acme", "amount": 5},
    "job.cancel": {"queue": "default", "job": "default.none"},
    "job.retry": {"queue": "default", "job": "default.none"},
}


@pytest.mark.parametrize("kind", ACTIONS)
async def test_in_memory_no_action_is_another_workers(kind: str) -> None:
    """409 and nothing written down; what is not even fit says so first."""
    sink = Sink()
    service = Service(audit_log=sink, keys=[KEY])
    body = json.dumps({**GIVEN[kind], "worker": "elsewhere:1"}).encode()
    assert (await service.ask(f"api/actions/{kind}", method="POST", body=body)).status == 409
    assert (await service.ask("api/actions/breaker.open", method="POST", body=b'{"breaker": "nobody"}')).status == 404
    assert sink.told() == []


@pytest.mark.parametrize("kind", ACTIONS)
async def test_every_action_is_written_down(kind: str) -> None:
    """Before and after, signed: who, from where, what, to what, with what outcome."""
    sink = Sink()
    service = Service(audit_log=sink, keys=[KEY])
    answer = await service.act(kind, **GIVEN[kind])
    outcome = "ok" if answer.status == 200 else "refused"
    assert sink.told() == [("begun", f"console:{kind}", None), ("ended", f"console:{kind}", outcome)]
    begun = next(each for each in sink.records if each["event"] == "begun")
    assert begun["principal"] == {"issuer": "https://issuer", "subject": "somebody"}
    assert begun["client"] == "192.0.2.1"
    assert begun["resource"] == {name: str(value) for name, value in GIVEN[kind].items()}
    assert {"mac", "key", "previous"} <= begun.keys()


@pytest.mark.parametrize("kind", ACTIONS)
async def test_without_an_audit_log_each_is_a_line(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of JSON, by the logger that audit trails have."""
    service = Service()
    with caplog.at_level(logging.WARNING, "forecourt.audit"):
        await service.act(kind, **GIVEN[kind])
    lines = [json.loads(each.message) for each in caplog.records if each.name == "forecourt.audit"]
    assert [(each["event"], each["action"]) for each in lines] == [
        ("begun", f"console:{kind}"),
        ("ended", f"console:{kind}"),
    ]
    assert lines[0]["principal"]["subject"] == "somebody"


async def test_what_cannot_be_written_down_is_not_done(caplog: pytest.LogCaptureFixture) -> None:
    """503, and the breaker stands as it stood."""
    sink = Sink()
    service = Service(audit_log=sink, keys=[KEY])
    await service.state()
    sink.broken = True
    answer = await service.act("breaker.open", breaker="upstream")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (await service.part("breakers"))[0]["state"] == "closed"
    assert "audit trail" in caplog.text


async def test_an_end_that_cannot_be_written_down_does_not_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning is kept."""
    sink = Sink()
    service = Service(audit_log=sink, keys=[KEY])
    await service.state()
    close = type(service.config.breaker("upstream")).close

    def closes(breaker: object) -> None:
        close(breaker)  # type: ignore[arg-type]  # the breaker
        sink.broken = True

    monkeypatch.setattr(type(service.config.breaker("upstream")), "close", closes)
    assert (await service.act("breaker.close", breaker="upstream")).status == 200
    assert [event for event, *_ in sink.told()] == ["begun"]


async def test_who_may_not_act_leaves_nothing_done_and_nothing_begun() -> None:
    """403, and no event of an action."""
    sink = Sink()
    service = Service(audit_log=sink, keys=[KEY])
    assert (await service.act("breaker.open", "reader", breaker="upstream")).status == 403
    assert (await service.part("breakers"))[0]["state"] == "closed"
    assert sink.told() == []


async def test_a_store_that_is_gone_is_said() -> None:
    """503, and the end is written down as such."""
    sink, clock = Sink(), FakeClock()
    shared = Shared(MemoryStore(clock))
    service = Service(policies(), store=shared, clock=clock, audit_log=sink, keys=[KEY])
    await service.state()
    shared.down = True
    answer = await service.act("credits.look", kind="tenant", tenant="acme")
    assert answer.status == 503
    assert sink.told()[-1] == ("ended", "console:credits.look", "unavailable")
