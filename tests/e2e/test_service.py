"""The service of examples/service: every policy of its file does what it is there for, and its handlers are plain."""

import ast
import asyncio
import base64
import datetime as dt
import json
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from examples.quotes.flaky import Flaky
from examples.service.service import service
from forecourt import JobConfig
from forecourt.testing import Answer, FakeClock, FakeIssuer, UnderTest, decisions

FOLDER = Path(__file__).parents[2] / "examples" / "service"
POLICIES = FOLDER / "policies.toml"
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()
READ, WRITE = {"records:read"}, {"records:read", "records:write"}

Test = Callable[["Service"], Awaitable[None]]
SHOWN: set[tuple[str, str]] = set()
"""The policies that the tests below show: endpoint and field."""


def shows(endpoint: str, *fields: str) -> Callable[[Test], Test]:
    """Say which policies a test shows."""
    SHOWN.update((endpoint, field) for field in fields)
    return lambda test: test


class Service:
    """The service in this process, its callers, and the server that its rates come from."""

    def __init__(self, tested: UnderTest, issuer: FakeIssuer, rates: Flaky, trail: Path) -> None:
        self.tested = tested
        self.issuer = issuer
        self.rates = rates
        self.trail = trail

    async def call(self, method: str, path: str, who: dict[str, str] | None = None, **more: object) -> Answer:
        """Call once; `headers` come besides the caller's."""
        headers = {**(who or {}), **more.pop("headers", {})}  # type: ignore[dict-item]  # a test's own words
        return await self.tested.call(method, path, headers=headers, **more)  # type: ignore[arg-type]  # the same

    async def patiently(self, path: str, who: dict[str, str]) -> int:
        """Call while time passes: a pause between attempts is a pause of the test's clock. Return the status."""
        calling = asyncio.ensure_future(self.call("GET", path, who))
        while not (await asyncio.wait([calling], timeout=0.005))[0]:
            self.tested.clock.advance(0.005)
        return calling.result().status

    def caller(self, subject: str = "ali", scopes: set[str] = READ, **claims: object) -> dict[str, str]:
        """Return the header of a caller."""
        return {"authorization": f"Bearer {self.issuer.token(subject, scopes=scopes, **claims)}"}  # type: ignore[arg-type]  # claims

    def operator(self) -> dict[str, str]:
        """Return the header of an operator."""
        return self.issuer.headers("ops", roles={"operator"})

    async def made(self, title: str, key: str, who: dict[str, str]) -> Answer:
        """Make a record."""
        return await self.call("POST", "/records", who, json={"title": title}, headers={"idempotency-key": key})


@pytest.fixture(name="running")
async def _running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """Run it on its own file of policies; only the issuer and the places are the test's."""
    trail, clock = tmp_path / "audit.jsonl", FakeClock()
    issuer = FakeIssuer(clock=clock)
    async with Flaky(200).running() as rates:
        monkeypatch.setenv("SERVICE_KEY", "k" * 64)
        monkeypatch.setenv("SERVICE_WEBHOOK_SECRET", SECRET)
        monkeypatch.setenv("SERVICE_AUDIT_LOG", str(trail))
        monkeypatch.setenv("SERVICE_RATES", rates.url)
        believed = issuer.policy.model_copy(update={"tenant_claim": "tenant", "tier_claim": "tier"})
        database = f"sqlite+aiosqlite:///{tmp_path / 'service.sqlite3'}"
        config = JobConfig.from_file(POLICIES, databases={"main": database}, issuers=[believed])
        async with UnderTest(service(config), config, clock=clock, client="127.0.0.1") as tested:
            yield Service(tested, issuer, rates, trail)


@shows("default", "security", "max_body", "max_headers", "headers", "cross_origin", "rate_limit", "timeout")
async def test_what_every_endpoint_has(running: Service) -> None:
    """Unknown callers, large bodies and headers, other sites and too many calls are refused, with careful fields."""
    ali = running.caller("ali", WRITE)
    nobody = await running.call("GET", "/records")
    assert (nobody.status, nobody.headers["x-content-type-options"]) == (401, "nosniff")
    assert (await running.call("GET", "/records", {**ali, "x-much": "x" * 20_000})).status == 431
    assert (await running.made("x" * 70_000, "large", ali)).status == 413
    assert (await running.call("GET", "/records", {**ali, "origin": "https://evil.example"})).status == 200
    foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "idempotency-key": "k"}
    assert (await running.call("POST", "/records", ali, json={"title": "x"}, headers=foreign)).status == 403
    statuses = [(await running.call("GET", "/v1/records", running.caller("bob"))).status for _ in range(61)]
    assert statuses == [200] * 60 + [429]


@shows("guide", "security", "headers", "cache")
async def test_pages_are_public_and_kept(running: Service) -> None:
    """Nobody need say who they are; the second answer is a hit, with a policy for what browsers may load."""
    answers = [await running.call("GET", "/") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert "hit" in answers[1].headers["cache-status"]
    assert "default-src" in answers[0].headers["content-security-policy"]


@shows("login", "security", "content", "rate_limit")
async def test_logins_that_fail_are_counted(running: Service) -> None:
    """Right words cost nothing, the sixth wrong one a minute is refused, and words come as JSON alone."""
    right, wrong = {"name": "ali", "password": "open sesame"}, {"name": "ali", "password": "guess"}
    assert {(await running.call("POST", "/login", json=right)).status for _ in range(8)} == {200}
    assert [(await running.call("POST", "/login", json=wrong)).status for _ in range(6)] == [401] * 5 + [429]
    running.tested.clock.advance(121)
    assert (await running.call("POST", "/login", json=right)).status == 200
    assert (
        await running.call("POST", "/login", body=b"name=ali", headers={"content-type": "text/plain"})
    ).status == 415


@shows("search_records", "security", "cache", "rate_limit")
async def test_a_search_is_kept_for_a_tenant_and_tiers_search_more(running: Service) -> None:
    """Another tenant sees nothing of it; thirty a minute, of a paying caller three hundred."""
    red, blue = running.caller("ali", WRITE, tenant="red"), running.caller("bob", WRITE, tenant="blue")
    assert (await running.made("one", "k1", red)).status == 201
    found = [await running.call("GET", "/records?title=o", who) for who in (red, red, blue)]
    assert [len(answer.json()) for answer in found] == [1, 1, 0]  # type: ignore[arg-type]  # lists
    assert "hit" in found[1].headers["cache-status"]
    assert (await running.call("GET", "/records", running.caller(scopes=set()))).status == 403
    for tier, status in (("silver", 429), ("gold", 200)):
        caller = running.caller(f"{tier} searcher", tier=tier)
        statuses = [(await running.call("GET", "/records", caller)).status for _ in range(31)]
        assert statuses[-1] == status


@shows("get_record", "security", "cache", "encryption")
@shows("create_record", "security", "idempotency", "encryption", "audit", "invalidates")
async def test_a_record_is_made_once_kept_and_written_down(running: Service) -> None:
    """The same key is the same record; another tenant finds none; a search is asked again after a write."""
    ali, bob = running.caller("ali", WRITE, tenant="red"), running.caller("bob", WRITE, tenant="blue")
    assert (await running.call("POST", "/records", ali, json={"title": "x"})).status == 400
    first, again = await running.made("one", "k1", ali), await running.made("one", "k1", ali)
    assert (first.status, again.status, first.body) == (201, 201, again.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert (await running.made("two", "k1", ali)).status == 422
    assert (await running.made("two", "k2", running.caller(scopes=READ))).status == 403
    number = json.loads(first.body)["id"]
    shown = [await running.call("GET", f"/records/{number}", who) for who in (ali, ali, bob)]
    assert [answer.status for answer in shown] == [200, 200, 404]
    assert "hit" in shown[1].headers["cache-status"]
    assert len((await running.call("GET", "/records", ali)).json()) == 1  # type: ignore[arg-type]  # a list
    await running.made("two", "k2", ali)
    assert len((await running.call("GET", "/records", ali)).json()) == 2  # type: ignore[arg-type]  # a list
    assert '"action":"create"' in running.trail.read_text()
    state = repr(running.tested.store._entries)  # type: ignore[attr-defined]  # what is at rest
    assert "one" not in state


@shows("upload", "security", "max_body", "content", "concurrency")
async def test_pictures_alone_are_taken_up_to_a_megabyte(running: Service) -> None:
    """Four at a time of one caller; a fifth is told to come again."""
    ali, png = running.caller("ali", WRITE), {"content-type": "image/png"}
    taken = await running.call("POST", "/pictures", ali, body=b"p" * 1_000_000, headers=png)
    assert (taken.status, json.loads(taken.body)["size"]) == (201, 1_000_000)
    assert (await running.call("POST", "/pictures", ali, body=b"p" * 1_100_000, headers=png)).status == 413
    assert (await running.call("POST", "/pictures", ali, body=b"p", headers={"content-type": "text/csv"})).status == 415
    crowd = [running.call("POST", "/pictures", ali, body=b"p" * 1000, headers=png) for _ in range(4)]
    assert {answer.status for answer in await asyncio.gather(*crowd)} == {201}
    assert (await running.call("POST", "/pictures", running.caller(), body=b"p", headers=png)).status == 403


@shows("events", "security", "concurrency", "timeout")
async def test_two_streams_for_each_caller(running: Service) -> None:
    """A third is refused while two are open; they stream whatever the usual timeout."""
    ali = running.caller()
    answers = await asyncio.gather(*(running.call("GET", "/events?number=3", ali) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [200, 200, 429]
    assert max(answer.body.count(b"data:") for answer in answers) == 3
    assert (await running.call("GET", "/events", running.caller(scopes=set()))).status == 403


@shows("payment_received", "security", "webhook", "cross_origin")
async def test_signed_payments_are_received_once(running: Service) -> None:
    """What is not signed is refused; the same message comes a second time in vain; its sender is no page."""
    now = running.tested.clock.now() // 1_000_000
    body = b'{"paid": 10}'
    when = dt.datetime.fromtimestamp(now, dt.UTC)
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": Webhook(SECRET).sign("msg_1", when, body.decode()),
        "content-type": "application/json",
        "origin": "https://provider.example",
    }
    assert (await running.call("POST", "/hooks/payments", body=body)).status == 400
    told = [(await running.call("POST", "/hooks/payments", body=body, headers=signed)).status for _ in range(2)]
    assert told == [204, 409]
    other = {**signed, "webhook-id": "msg_2"}
    assert (await running.call("POST", "/hooks/payments", body=body, headers=other)).status == 403


@shows("make_digest", "security", "credits", "idempotency", "offload", "encryption")
@shows("jobs:*", "security")
async def test_a_digest_is_a_paid_job(running: Service) -> None:
    """The same key the same job, its owner alone sees it, and callers whose credits are gone get none."""
    ali = running.caller("ali", {"digests:make"})
    order, key = {"text": "hello", "rounds": 1}, {"idempotency-key": "k"}
    first, again = [await running.call("POST", "/digests", ali, json=order, headers=key) for _ in range(2)]
    assert (first.status, first.headers["location"]) == (202, again.headers["location"])
    place = first.headers["location"]
    assert (await running.call("GET", place, running.caller("bob", {"digests:make"}))).status == 404
    assert (await running.call("GET", place, running.caller("ali", set()))).status == 403
    async with asyncio.timeout(20):
        while (await running.call("GET", f"{place}/result", ali)).status != 200:
            await asyncio.sleep(0.01)
    assert (await running.call("POST", "/digests", running.caller(), json=order)).status == 403
    statuses: list[int] = []
    while 429 not in statuses and 402 not in statuses and len(statuses) < 120:
        running.tested.clock.advance(1)
        statuses.append((await running.call("POST", "/digests", ali, json={"rounds": 0})).status)
    assert set(statuses) <= {422, 402, 429}  # what does not fit the handler is no job


@shows("get_rate", "security", "timeout", "retry", "circuit_breaker")
async def test_rates_of_a_server_that_fails(running: Service) -> None:
    """Two failures are tried again and nobody notices; when it is gone callers hear at once, and it is left alone."""
    ali = running.caller()
    running.rates.says(503, 503, 200)
    assert await running.patiently("/rates/EUR", ali) == 200
    running.rates.says("reset")
    statuses = [await running.patiently("/rates/EUR", ali) for _ in range(15)]
    assert (statuses[0], statuses[-1]) == (502, 503)
    asked = running.rates.calls
    assert await running.patiently("/rates/EUR", ali) == 503
    assert running.rates.calls == asked
    assert (await running.call("GET", "/rates/EUR", running.caller(scopes=set()))).status == 403


@shows("list_records_v1", "security", "deprecation")
async def test_the_old_list_says_that_it_goes(running: Service) -> None:
    """Callers hear when, and what comes after it."""
    running.tested.clock.advance(80_000_000)
    answer = await running.call("GET", "/v1/records", running.caller())
    assert answer.status == 200
    assert {"deprecation", "sunset", "link"} <= answer.headers.keys()
    assert (await running.call("GET", "/v1/records", running.caller(scopes=set()))).status == 403


@shows("remove_tenant", "security", "clients", "audit", "invalidates")
async def test_operators_remove_a_tenant(running: Service) -> None:
    """From their networks alone, written down before it is done, and searches see it."""
    ali = running.caller("ali", WRITE, tenant="red")
    await running.made("one", "k1", ali)
    assert len((await running.call("GET", "/records", ali)).json()) == 1  # type: ignore[arg-type]  # a list
    path = "/admin/tenants/red"
    assert (await running.call("DELETE", path, ali)).status == 403
    assert (await running.call("DELETE", path, running.operator(), client="203.0.113.9")).status == 403
    assert (await running.call("DELETE", path, running.operator())).status == 204
    assert '"resource":"tenant:red"' in running.trail.read_text()
    assert (await running.call("GET", "/records", ali)).json() == []


@shows("health:*", "security", "rate_limit")
@shows("metrics", "security", "clients", "logging")
@shows("console:*", "security")
@shows("console:page", "security")
async def test_what_operators_look_at(running: Service) -> None:
    """Probes need no token and have no limit; metrics are for their networks; the console's data for their role."""
    assert {(await running.call("GET", "/health/live")).status for _ in range(100)} == {200}
    assert (await running.call("GET", "/metrics/")).status == 200
    assert (await running.call("GET", "/metrics/", client="203.0.113.9")).status == 403
    assert (await running.call("GET", "/console/")).status == 200
    assert (await running.call("GET", "/console/api/state", running.caller())).status == 403
    assert (await running.call("GET", "/console/api/state", running.operator())).status == 200


async def test_decisions_are_told_by_layer(running: Service) -> None:
    """What each layer decided of a call can be seen by tests of one's own."""
    assert decisions(await running.call("GET", "/records"))["security"] == "challenged"


def test_every_policy_of_the_file_is_shown() -> None:
    """A policy that is written into the file without a test of it is found here."""
    told = tomllib.loads(POLICIES.read_text())
    written = {(name, field) for name, policy in told["endpoints"].items() for field in policy}
    written |= {("default", field) for field in told["default"]}
    assert written == SHOWN


def test_handlers_are_plain() -> None:
    """They ask for a session, and know nothing of what protects them."""
    for name in ("handlers.py", "tables.py"):
        tree = ast.walk(ast.parse((FOLDER / name).read_text()))
        found = {node.module for node in tree if isinstance(node, ast.ImportFrom) and node.module}
        assert {each for each in found if each.startswith("forecourt")} == {"forecourt.db"}
