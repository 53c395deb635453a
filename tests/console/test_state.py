"""What the console shows, and of whom."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route, WebSocketRoute

from forecourt import Debounce, EndpointPolicy, FixedWindow, JobConfig, RateLimitMiddleware, SecurityMiddleware
from forecourt.asking import Chain
from forecourt.console.answering import LASTS
from forecourt.console.opening import Watch
from forecourt.console.watching import SLOT, SLOTS
from forecourt.jobs.memory import MemoryQueue
from forecourt.routing import Endpoint
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from tests.asgi import call, get, http, websocket
from tests.callers import Caller, settle_down
from tests.console.served import GUARDED, ByHeader, Service, Told, until
from tests.layers.shared import Shared
from tests.servers import Valkey
from tests.services import echo, starlette, text


async def of(service: Service, name: str) -> Told:
    """Return how an endpoint stands."""
    (found,) = (each for each in await service.part("endpoints") if each["name"] == name)
    return found


async def test_calls_are_counted_by_what_became_of_them() -> None:
    """Failed, refused, answered; five minutes later nothing is left of it."""
    service = Service()
    await service.visit("/guarded", 3)
    await service.visit("/broken", 2)
    await service.visit("/limited", 3)
    await service.visit("/nowhere")
    counted = {
        each["name"]: (each["calls"], each["errors"], each["refused"]) for each in await service.part("endpoints")
    }
    assert counted["guarded"] == (3, 3, 0)
    assert counted["broken"] == (2, 2, 0)
    assert counted["limited"] == (3, 0, 2)
    assert counted["unrouted"] == (1, 0, 0)
    assert counted["cached"] == (0, 0, 0)
    service.clock.advance(SLOT * SLOTS // SECOND)
    assert {each["calls"] for each in await service.part("endpoints")} == {0}


async def test_the_failing_endpoint_is_named_with_why() -> None:
    """One word and one reason: its breaker, its failures, its refusals, or nothing at all."""
    service = Service()
    await service.visit("/guarded", 2)
    await service.visit("/broken", 3)
    await service.visit("/limited", 3)
    await service.visit("/charged")
    told = {each["name"]: (each["word"], each["why"]) for each in await service.part("endpoints")}
    assert told["guarded"] == ("failing", "breaker upstream is open; 2 of 2 calls failed in the last minute")
    assert told["broken"] == ("failing", "3 of 3 calls failed in the last minute")
    assert told["limited"] == ("troubled", "2 of 3 calls refused in the last minute")
    assert told["charged"] == ("well", "")
    assert told["cached"] == ("idle", "")


async def test_rates_are_of_the_last_ten_seconds() -> None:
    """And the series has its slots, oldest first."""
    service = Service(GUARDED)
    service.clock.advance(1)
    await service.visit("/charged", 20)
    found = await of(service, "charged")
    assert found["rate"] == pytest.approx(20 / 11, abs=0.5)
    assert sum(found["calls_series"]) == 20
    service.clock.advance(60)
    assert (await of(service, "charged"))["rate"] == 0


async def test_refusals_have_a_reason() -> None:
    """Layer, outcome, the limit's name, and the status that callers saw."""
    service = Service()
    await service.visit("/limited", 3)
    await service.visit("/guarded", 4)
    words = ("endpoint", "layer", "outcome", "detail", "status")
    told = {tuple(each[word] for word in words): each["calls"] for each in await service.part("refusals")}
    assert told["limited", "rate_limit", "refused", "few", 429] == 2
    assert told["guarded", "circuit_breaker", "open", "", 503] == 2


async def test_hits_and_credits_are_counted() -> None:
    """Hits of looks, and credits once they are settled."""
    service = Service()
    await service.visit("/cached", 4)
    await service.visit("/charged", 2)
    cached, charged = await of(service, "cached"), await of(service, "charged")
    assert (cached["hits"], cached["misses"]) == (3, 1)
    assert charged["credits"] == 6


async def test_layers_have_their_time() -> None:
    """From the decision before to their own, and the handler the rest; over all endpoints and for each."""
    service = Service()
    await service.visit("/limited")
    told = {(each["endpoint"], each["layer"]): each["calls"] for each in await service.part("layers")}
    assert told["limited", "rate_limit"] == told["", "rate_limit"] == 1
    assert told["limited", "handler"] == 1


async def test_limited_callers_are_digests() -> None:
    """The most refused first; no address is shown."""
    service = Service()
    await service.visit("/limited", 5)
    await service.visit("/limited", 2, client="192.0.2.77")
    told = await service.part("limited")
    assert [(each["limit"], each["by"], each["refused"]) for each in told] == [
        ("few", "client", 4),
        ("few", "client", 1),
    ]
    assert "192.0.2" not in json.dumps(await service.state())


async def test_a_call_that_a_later_one_replaced_is_refused_by_its_limit() -> None:
    """It is counted with the name of its limit, as every refusal is, and its caller is listed there."""
    quiet = Debounce(interval=1, edge="trailing", name="quiet", key="client")
    service = Service({**GUARDED, "saved": EndpointPolicy(rate_limit=quiet)}, Route("/saved", text, name="saved"))
    first = await Caller.begin(service.app, "/saved")
    second = await Caller.begin(service.app, "/saved")
    service.clock.advance(1)
    assert [(await each.end()).status for each in (first, second)] == [409, 200]
    words = ("endpoint", "layer", "outcome", "detail", "status", "calls")
    assert [[each[word] for word in words] for each in await service.part("refusals")] == [
        ["saved", "rate_limit", "refused", "quiet", 409, 1]
    ]
    assert [each["limit"] for each in await service.part("limited")] == ["quiet"]


async def test_policies_come_with_their_source() -> None:
    """Each field, as Python would write it, and who said so; the console's own are left out."""
    told = {each["endpoint"]: each for each in await Service().part("policies")}
    (field,) = told["limited"]["fields"]
    assert field["field"] == "rate_limit"
    assert "limit=1" in field["policy"]
    assert field["source"] == 'endpoint "limited"'
    assert not any(name.startswith("console:") for name in told)


async def test_a_socket_is_counted_but_not_timed() -> None:
    """As it lasts for as long as its caller likes."""
    service = Service(None, WebSocketRoute("/echo", echo, name="echo"))
    await service.state()
    await call(service.app, websocket("/echo"))
    found = await of(service, "echo")
    assert (found["calls"], found["p95"]) == (1, None)


async def test_a_caller_who_leaves_is_no_failure() -> None:
    """It is counted as given up."""
    hang = asyncio.Event()

    async def waits(_: object) -> None:
        await hang.wait()

    service = Service(None, Route("/waits", waits, name="waits"))
    await service.state()
    task = asyncio.create_task(get(service.app, "/waits"))
    await settle_down()
    assert (await of(service, "waits"))["running"] == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = await of(service, "waits")
    assert (found["calls"], found["cancelled"], found["errors"], found["running"]) == (1, 1, 0, 0)


async def test_several_stacks_of_one_config_count_once() -> None:
    """The outermost tells."""
    clock = FakeClock()
    config = JobConfig(default=EndpointPolicy(), endpoints=GUARDED, authenticators={"header": ByHeader()})
    stacks = [Middleware(each, config=config, clock=clock) for each in (SecurityMiddleware, RateLimitMiddleware)]
    routes = [Route("/here", text, name="here"), Mount("/console", config.console, name="console")]
    app = Starlette(routes=routes, middleware=stacks)
    assert (await get(app, "/here")).status == 200
    told = json.loads(
        (await call(app, http("/console/api/state", headers=[(b"authorization", b"Bearer operator")]))).body
    )
    assert [(each["name"], each["calls"]) for each in told["endpoints"]] == [("here", 1)]


async def test_without_the_console_no_chain_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs nothing: nothing stands around any chain."""
    watched: list[Endpoint | None] = []
    around = Watch.around

    def seen(watch: Watch, chain: Chain, endpoint: Endpoint | None) -> Chain:
        watched.append(endpoint)
        return around(watch, chain, endpoint)

    monkeypatch.setattr(Watch, "around", seen)
    app = starlette(JobConfig(default=EndpointPolicy()), Route("/", text, name="here"))
    assert (await get(app, "/")).status == 200
    assert watched == []
    await Service().state()
    assert watched


async def test_what_is_gathered_is_gathered_once_a_second() -> None:
    """However many look."""
    clock = FakeClock()
    service = Service(store=Shared(MemoryStore(clock)))
    first, second = await asyncio.gather(service.ask("api/state"), service.ask("api/state"))
    third = await service.ask("api/state")
    assert first.body == second.body == third.body


async def test_a_store_that_is_gone_is_told() -> None:
    """And the rest is shown all the same."""
    shared = Shared(MemoryStore())
    service = Service(GUARDED, store=shared)
    assert (await service.state())["store"]["stands"] == "answers"
    shared.down = True
    assert (await service.state())["store"]["stands"] == "down"


async def test_a_real_server_is_the_fleets(valkey: Valkey) -> None:
    """Its trips are counted; gone, policies decide without it; no password is shown."""
    limit = EndpointPolicy(rate_limit=FixedWindow(limit=5, window=60))
    config = JobConfig(
        default=EndpointPolicy(),
        endpoints={**GUARDED, "limited": limit},
        authenticators={"header": ByHeader()},
        store=valkey.url,
    )
    service = Service(config=config)
    await service.visit("/limited", 3)
    store = (await service.state())["store"]
    assert (store["of"], store["stands"]) == ("fleet", "answers")
    assert store["trips"] >= 3
    assert store["p95"] > 0
    valkey.stop()
    try:
        gone = (await service.state())["store"]
        assert gone["stands"] in ("degraded", "down")
    finally:
        valkey.start()


async def test_jobs_are_shown_as_they_stand() -> None:
    """By queue, with how many wait; a dead one says why."""
    service = Service()
    await service.visit("/later", method="POST")
    job = await until(service, "default", "dead")
    assert job["endpoint"] == "later"
    assert job["reason"]
    queue = (await service.state())["jobs"]["queues"][0]
    assert (queue["of"], queue["depth"]["dead"]) == ("process", 1)


class Unlisted:
    """A queue that keeps what queues promise, and can say of no jobs but the dead."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.embedded = True
        self.open, self.close, self.idle = queue.open, queue.close, queue.idle
        self.publish, self.claim, self.renew, self.finish = queue.publish, queue.claim, queue.renew, queue.finish
        self.look, self.result, self.cancel, self.redrive = queue.look, queue.result, queue.cancel, queue.redrive
        self.dead, self.depth = queue.dead, queue.depth


async def test_a_queue_that_does_not_list_shows_its_dead() -> None:
    """And how many wait, but not for how long."""
    unlisted = {"default": lambda site: Unlisted(MemoryQueue(site.clock))}
    service = Service(queues=unlisted, keys=[b"a secret of thirty-two bytes or more"])
    await service.visit("/later", method="POST")
    assert (await until(service, "default", "dead"))["endpoint"] == "later"
    queue = (await service.state())["jobs"]["queues"][0]
    assert (queue["age"], queue["depth"]["dead"], "why" in queue) == (None, 1, False)


FILE = """
[default]
[endpoints."console:*"]
security = { roles = ["operator"] }
[endpoints."console:page"]
security = { public = true }
[endpoints.limited]
rate_limit = { type = "fixed_window", limit = 1, window = 60 }
"""


async def test_the_running_config_is_compared_with_its_file(tmp_path: Path) -> None:
    """The same, other, wrong, gone; what loosens protection is told."""
    file = tmp_path / "policies.toml"
    file.write_text(FILE)
    service = Service(config=JobConfig.from_file(file, authenticators={"header": ByHeader()}))

    async def compared() -> Told:
        told: Told = (await service.state())["config"]
        return told

    assert (await compared())["stands"] == "same"
    file.write_text(FILE.replace("limit = 1", "limit = 100"))
    differs = await compared()
    (change,) = differs["changes"]
    assert differs["stands"] == "differs"
    assert change["place"] == 'endpoints."limited".rate_limit'
    assert change["looser"] == ["fixed_window: limit raised from 1 to 100"]
    file.write_text("[endpoints.limited]\nrate_limt = 1\n")
    refused = await compared()
    assert refused["stands"] == "refused"
    assert "rate_limit" in str(refused["why"])
    file.unlink()
    assert (await compared())["stands"] == "unreadable"
    file.write_text(FILE)
    assert (await compared())["stands"] == "same"


async def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    """Its size and its time of change say so: who keeps both is not noticed."""
    file = tmp_path / "policies.toml"
    file.write_text(FILE)
    service = Service(config=JobConfig.from_file(file, authenticators={"header": ByHeader()}))
    assert (await service.state())["config"]["stands"] == "same"
    stamp = file.stat()
    file.write_text(FILE.replace("limit = 1", "limit = 2"))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert (await service.state())["config"]["stands"] == "same"
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert (await service.state())["config"]["stands"] == "differs"


async def test_without_a_file_there_is_nothing_to_compare() -> None:
    """It says so."""
    assert (await Service().state())["config"]["stands"] == "no file"


async def test_events_are_streamed() -> None:
    """Policies once, then the state again and again; after a while the stream ends, and the page asks again."""
    kinds = [line for line in await Service().stream() if line.startswith("event: ")]
    assert kinds[0] == "event: policies"
    assert set(kinds[1:]) == {"event: state"}
    assert 5 <= len(kinds) <= 1 + LASTS // SECOND


async def test_a_stream_of_another_worker_is_asked_for_again() -> None:
    """409, on a connection that is not used again, so that the next call may reach it."""
    answer = await Service().ask("api/events?worker=elsewhere:1")
    assert (answer.status, answer.headers["connection"]) == (409, "close")
    assert json.loads(answer.body)["type"].endswith("/other-worker")
