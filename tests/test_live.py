"""Another config while the service runs: whole or not at all, and nothing lost that it does not change."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from forecourt import CircuitBreaker, ConfigError, EndpointPolicy, JobConfig, PolicyMiddleware
from forecourt.config_file import Document
from forecourt.live import ABOUT, KIND, Books
from forecourt.orders import Orders
from forecourt.principals import Keys
from forecourt.stores.contract import Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.asgi import get
from tests.callers import settle_down
from tests.changing import POLICIES, Changing, told, write
from tests.servers import Valkey, eventually
from tests.services import text

CALLERS = 6
SWAPS = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A policy file, number 0."""
    place = tmp_path / "policies.toml"
    write(place, 0)
    return place


def books(store: MemoryStore, clock: FakeClock) -> Books:
    """What an operator's command has open."""
    return Books(store, Keys("fc"), Orders(store, Keys("fc"), clock))


async def swapped_under_load(process: Changing, more: str = "") -> None:
    """Swap configs again and again under callers that never pause; each answer tells of one config, none is lost."""
    seen: set[int] = set()
    calls = answers = 0
    going = True

    async def caller() -> None:
        nonlocal calls, answers
        while going:
            calls += 1
            numbers = told(await process.get())
            assert len(numbers) == 1, f"mixed: {numbers}"
            seen.update(numbers)
            answers += 1
            await asyncio.sleep(0.002)

    callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    for number in range(1, SWAPS + 1):
        write(process.path, number, more)
        await process.follows(number)
        seen.add(await process.number())
    going = False
    await asyncio.gather(*callers)
    assert (calls, seen) == (answers, set(range(SWAPS + 1)))
    assert calls > SWAPS


@pytest.mark.parametrize("several", [False, True], ids=["one-stack", "several-stacks"])
async def test_a_hundred_swaps_under_load_mix_nothing_and_drop_nothing(path: Path, *, several: bool) -> None:
    """In memory; also where the layers of one config are several middlewares with others between them."""
    await swapped_under_load(Changing(path, several=several))


async def test_the_same_on_a_real_server(path: Path, valkey: Valkey) -> None:
    """Where calls wait for the store in the middle of their chains."""
    store = f'store = "{valkey.url}"'
    write(path, 0, store)
    await swapped_under_load(Changing(path), store)


async def test_chains_of_earlier_configs_are_let_go(path: Path) -> None:
    """They are kept for the calls that began under them, and no longer."""
    process = Changing(path, several=True)
    assert await process.number() == 0
    stacks = list(process.app.middleware_stack.app._live._stacks)  # type: ignore[union-attr]  # of the outer stack
    for number in (1, 2):
        write(path, number)
        await process.follows(number)
        assert await process.number() == number
    assert [len(stack._dispatch.older) for stack in stacks] == [0, 0]


BAD = {
    "no-toml": "[default",
    "unknown-word": "[default]\nrate_limits = {}",
    "wrong-value": '[default.rate_limit]\ntype = "fixed_window"\nlimit = 0\nwindow = 1',
    "no-endpoint": "[default]\n[endpoints.raed]",
    "cannot-work": "[default]\ncache = {ttl = 1, tags = ['a:{id}']}",
    "no-default": "",
    "store": '[default]\n[queues]\nmail = "memory://"',
    "sealed": "[default]\noffload = {}",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_bad_file_is_refused_once_and_what_was_in_force_stays(
    path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged and counted once, however often it is looked at; the next good one is taken."""
    process = Changing(path)
    assert await process.number() == 0
    path.write_text(bad)
    with caplog.at_level(logging.ERROR, "forecourt"):
        await process.look()
        await eventually(lambda: "is refused" in caplog.text, 5)
        await process.look()
        assert await process.number() == 0
    assert caplog.text.count("is refused, the one in force stays") == 1
    assert "name='n0'" in repr(process.config.policy_for("read"))
    assert "name='n0'" in repr(process.config.default)
    metrics = (await _metrics(process)).splitlines()
    assert 'forecourt_configs_came_total{outcome="refused"} 1.0' in metrics
    write(path, 1)
    await process.follows(1)
    assert await process.number() == 1
    assert 'forecourt_configs_came_total{outcome="adopted"} 1.0' in (await _metrics(process)).splitlines()


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ('store = "redis://elsewhere"', "store"),
        ('namespace = "other"', "namespace"),
        ('[queues]\nmail = "memory://"', "queues"),
        ('[routes]\nother = "GET /"', "routes"),
        ("revocation = true", "revocation"),
    ],
)
async def test_what_cannot_change_is_named(path: Path, more: str, names: str, caplog: pytest.LogCaptureFixture) -> None:
    """The whole config is refused, and the line says which field needs a restart."""
    process = Changing(path)
    assert await process.number() == 0
    write(path, 1, more)
    await process.look()
    await eventually(lambda: "is refused" in caplog.text, 5)
    assert f"{names}: cannot change while the service runs" in caplog.text
    assert await process.number() == 0


async def test_one_line_tells_what_changed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As `forecourt diff` does; a file that says the same in other words is no change, and tells nothing."""
    process = Changing(path)
    assert await process.number() == 0
    with caplog.at_level(logging.INFO, "forecourt"):
        path.write_text("# a comment\n" + path.read_text())
        await process.look()
        write(path, 1)
        await process.follows(1)
        await eventually(lambda: "changed" in caplog.text, 5)
    (line,) = [record.message for record in caplog.records if record.name == "forecourt"]
    assert line.startswith(f"config {path}: 4 changed: default.deprecation: Deprecation(")
    assert "name='n0'" in line.partition("->")[2]


async def test_a_file_that_is_being_written_is_not_read(path: Path) -> None:
    """It is read once it has stayed as it is from one look to the next; a part of it might be a config as well."""
    process = Changing(path)
    assert await process.number() == 0
    whole = POLICIES.format(number=1, more="")
    for size in (60, 120, 150, 190):
        path.write_text(whole[:size])
        await settle_down()
        process.advance(0.25)
        await settle_down()
        assert await process.number() == 0
    path.write_text(whole)
    await process.follows(1)
    path.unlink()
    await process.look()
    assert await process.number() == 1


async def test_limits_read_what_they_have_counted_with_their_new_numbers(path: Path) -> None:
    """Three of a million are taken; of two none is left, of five two."""
    process = Changing(path)
    for _ in range(3):
        assert (await process.get()).status == 200
    written = path.read_text()
    remaining = []
    for limit in (2, 5):
        path.write_text(written.replace("1000000", str(limit)))
        await process.look()
        await eventually(lambda limit=limit: f"limit={limit}," in repr(process.config.default), 5)  # type: ignore[misc]  # its default
        answer = await process.get()
        remaining.append((answer.status, answer.headers["ratelimit"].partition(";t")[0]))
    assert remaining == [(429, '"n0";r=0'), (200, '"n0";r=1')]


BREAKS = """
[default]
[endpoints.{name}]
circuit_breaker = {{fail_max = {fail_max}}}
[networks]
office = ["192.0.2.{host}/32"]
"""


async def test_a_breaker_stays_open_until_its_own_policy_changes(path: Path) -> None:
    """And an endpoint whose grounds do not change keeps its chain."""
    path.write_text(BREAKS.format(name="read", fail_max=2, host=1))
    process = Changing(path)
    assert (await process.get()).status == 200
    process.config.breaker("read").open()
    assert (await process.get()).status == 503
    for host, fail_max, status in ((2, 2, 503), (2, 3, 200)):
        path.write_text(BREAKS.format(name="read", fail_max=fail_max, host=host))
        await process.look()
        await eventually(lambda host=host: f"192.0.2.{host}" in repr(process.config.networks), 5)  # type: ignore[misc]  # its default
        await eventually(lambda fail_max=fail_max: f"fail_max={fail_max}" in repr(process.config.endpoints), 5)  # type: ignore[misc]  # its default
        assert (await process.get()).status == status


def test_a_breaker_that_was_forgotten_for_a_config_that_failed_is_there_again() -> None:
    """What is undone is undone whole: the same breaker, as it stood, and the fields as they were."""

    def config(fail_max: int) -> JobConfig:
        return JobConfig(endpoints={"read": EndpointPolicy(circuit_breaker=CircuitBreaker(fail_max=fail_max))})

    old, new = config(2), config(3)
    breaker = old.breaker("read")
    breaker.open()
    endpoints = old.endpoints
    undo = old.adopt(new)
    assert (old.breaker("read").policy.fail_max, old.breaker("read").state) == (3, "closed")
    undo()
    assert old.breaker("read") is breaker
    assert (old.endpoints, old.policy_for("read").circuit_breaker) == (endpoints, breaker.policy)  # type: ignore[union-attr]  # it is named


async def test_what_is_turned_on_live_works_and_what_needs_a_restart_says_so(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Maintenance, a flood guard and a breaker can be; an observer that was off for all endpoints cannot."""
    path.write_text('[default]\nmetrics = "off"')
    process = Changing(path)
    assert (await process.get()).status == 200
    path.write_text('[default]\nmetrics = "off"\nmaintenance = {}\n[flood_guard]\nlimit = 2\nwindow = 60')
    await process.look()
    await eventually(lambda: process.config.flood_guard is not None, 5)
    assert [(await process.get()).status for _ in range(3)] == [200, 200, 429]
    await process.config.maintenance.on("read")
    assert (await get(process.app, "/", client="192.0.2.2")).status == 503
    path.write_text('limit_headers = "none"\n' + path.read_text())
    await process.look()
    await eventually(lambda: process.config.limit_headers == "none", 5)
    assert (await process.get()).status == 429  # its count is still there
    path.write_text("[default]\nmaintenance = {}\n[flood_guard]\nlimit = 2\nwindow = 60")
    await process.look()
    await eventually(lambda: "is refused" in caplog.text, 5)
    assert "metrics: was off for all endpoints when the service started" in caplog.text
    assert (await process.get()).status == 429  # its count is still there


async def test_operators_push_to_all_processes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A document in the store takes the place of the file in all that watch; dropped, the file holds again."""
    clock = FakeClock()
    store = MemoryStore(clock)
    operator = books(store, clock)
    processes = [Changing(path, watch="store", store=store, clock=clock) for _ in range(2)]
    assert [await each.number() for each in processes] == [0, 0]
    for number in (1, 2):
        await operator.push(Document("policies.toml", POLICIES.format(number=number, more="")))
        for each in processes:
            await each.follows(number)
        assert [await each.number() for each in processes] == [number] * 2
    late = Changing(path, watch="store", store=store, clock=clock)
    assert await late.number() == 2
    with caplog.at_level(logging.CRITICAL, "forecourt"):
        await operator.push(Document("policies.toml", "[default"))
        await late.look()
        await operator.push(Document("policies.txt", ""))
        await late.look()
    assert await late.number() == 2
    assert await operator.drop()
    for each in (*processes, late):
        await each.follows(0)
        assert await each.number() == 0
    assert not await operator.drop()


async def test_a_document_that_the_store_does_not_have_is_waited_for(path: Path) -> None:
    """The order may be there sooner; what is in force stays until the document comes."""
    clock = FakeClock()
    store = MemoryStore(clock)
    process = Changing(path, watch="store", store=store, clock=clock)
    assert await process.number() == 0
    digest = await books(MemoryStore(clock), clock).push(Document("a.toml", POLICIES.format(number=3, more="")))
    orders = Orders(store, Keys("fc"), clock)
    await orders.give({"kind": KIND, "about": ABOUT, "until": None, "digest": digest})
    await process.look()
    assert await process.number() == 0
    await orders.take_back(KIND, ABOUT)
    await books(store, clock).push(Document("a.toml", POLICIES.format(number=3, more="")))
    await process.look()
    await process.follows(3)


async def test_processes_on_a_real_server_follow_within_a_second(path: Path, valkey: Valkey) -> None:
    """By their own clocks."""
    write(path, 0, f'store = "{valkey.url}"')
    configs = [JobConfig.from_file(path) for _ in range(2)]
    apps = [Changing(path, watch=None) for _ in range(2)]
    stacks = [PolicyMiddleware(each.app, config, watch="store") for each, config in zip(apps, configs, strict=True)]
    for stack in stacks:
        assert (await get(stack, "/")).status == 200
    live = stacks[0]._live
    await live._books.push(Document("a.toml", POLICIES.format(number=7, more=f'store = "{valkey.url}"')))
    await eventually(lambda: all("n7" in repr(config.default) for config in configs), 1)
    assert repr(live) == "<Live config, store is watched>"


def test_a_watch_that_cannot_be_stops_the_start(path: Path) -> None:
    """A word that is none, a config made in Python, a store that nobody shares; each says what to do."""
    app = Changing(path, watch=None).app
    for config, watch, message in (
        (JobConfig.from_file(path), "files", 'must be "file" or "store"'),
        (JobConfig(), "file", r"say JobConfig\.from_file\(path\)"),
        (JobConfig.from_file(path), "store", "nobody can push to memory://"),
    ):
        with pytest.raises(ConfigError, match=message):
            PolicyMiddleware(app, config, watch=watch)  # type: ignore[arg-type]  # a wrong word
    with pytest.raises(ConfigError, match="made in Python"):
        JobConfig().reread()


async def test_a_stack_without_a_config_watches_the_one_of_the_environment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORECOURT_CONFIG names a file."""
    monkeypatch.setenv("FORECOURT_CONFIG", str(path))
    assert PolicyMiddleware(Changing(path, watch=None).app, watch="file").config.origin is not None


async def test_what_python_says_still_wins(path: Path) -> None:
    """As at a start: fields that Python gave are not the file's to change."""
    config = JobConfig.from_file(path, limit_headers="none")
    write(path, 1, 'limit_headers = "both"')
    again = config.reread()
    assert (again.limit_headers, "n1" in repr(again.default)) == ("none", True)


async def _metrics(process: Changing) -> str:
    body = (await get(process.config.metrics, "/")).body  # an app of its own
    return body.decode()


async def test_it_watches_from_the_start_of_the_app_to_its_end(path: Path) -> None:
    """With a lifespan: another config is followed meanwhile, and no task is left afterwards."""
    process = Changing(path)
    before = asyncio.all_tasks()
    async with _Running(process):
        assert await process.number() == 0
        write(path, 1)
        await process.follows(1)
        assert await process.number() == 1
    assert asyncio.all_tasks() == before


class _Running:
    """The lifespan of a process, through its stack."""

    def __init__(self, process: Changing) -> None:
        self._app = process.app
        self._end = asyncio.Event()
        self._began = asyncio.Event()

    async def __aenter__(self) -> None:
        """Start."""
        self._task = asyncio.create_task(self._app({"type": "lifespan", "state": {}}, self._receive, self._send))
        await self._began.wait()

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        self._end.set()
        await self._task

    async def _receive(self) -> dict[str, object]:
        if not self._began.is_set():
            return {"type": "lifespan.startup"}
        await self._end.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Mapping[str, object]) -> None:
        assert message["type"] in ("lifespan.startup.complete", "lifespan.shutdown.complete"), message
        self._began.set()


async def test_what_breaks_while_it_is_taken_is_refused_too(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is raised: what was in force stays, and the task goes on."""
    process = Changing(path)
    assert await process.number() == 0

    def breaks() -> JobConfig:
        raise RuntimeError("unforeseen")

    await process.app.middleware_stack.app._live.take("a.toml", breaks)  # type: ignore[union-attr]  # of the stack
    assert "config a.toml is refused, the one in force stays: RuntimeError" in caplog.text
    assert await process.number() == 0


async def test_a_pushed_document_that_is_none_is_refused(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has written another thing there."""
    clock = FakeClock()
    store = MemoryStore(clock)
    process = Changing(path, watch="store", store=store, clock=clock)
    assert await process.number() == 0
    odd = b'{"name": 5}'
    digest = hashlib.blake2b(odd, digest_size=16).hexdigest()
    place = Keys("fc").key("orders", "documents", "orders")
    await store.settle([Settlement("key_put", place, (digest, odd))])
    await Orders(store, Keys("fc"), clock).give({"kind": KIND, "about": ABOUT, "until": None, "digest": digest})
    await process.look()
    assert "the document that is pushed cannot be read" in caplog.text
    assert await process.number() == 0


async def test_a_line_of_many_changes_is_bounded(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Twenty of them, and how many more."""
    routes = [Route(f"/{place}", text, name=f"read{place}") for place in range(30)]
    config = JobConfig.from_file(path)
    clock = FakeClock()
    installed = Middleware(PolicyMiddleware, config=config, clock=clock, watch="file")
    app = Starlette(routes=routes, middleware=[installed])
    assert (await get(app, "/1")).status == 200
    write(path, 1)
    with caplog.at_level(logging.INFO, "forecourt"):
        await app.middleware_stack.app._live.take("a.toml", config.reread)  # type: ignore[union-attr]  # of the stack
    (line,) = [record.message for record in caplog.records if record.name == "forecourt"]
    assert line.startswith("config a.toml: 62 changed: ")
    assert line.endswith("; and 42 more")
