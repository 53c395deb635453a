"""Stores and layers that installed packages bring: named in a config, and only then imported."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from forecourt import ConfigError, EndpointPolicy, FixedWindow, JobConfig, Offload, PolicyMiddleware
from forecourt.jobs.queues import JobQueues
from forecourt.stores.contract import Question, StoreSite
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.opening import store_at
from forecourt.testing import FakeClock, UnderTest, decisions
from forecourt.types import SystemClock
from tests.distributions import Packages

STORES = """
from examples.extending.store import CountingStore
from forecourt.errors import StoreDown
from forecourt.stores.memory import MemoryStore

MADE = []

class Down(CountingStore):
    async def decide(self, questions):
        raise StoreDown("gone")

def counting(site):
    MADE.append((site, CountingStore(MemoryStore(site.clock))))
    return MADE[-1][1]

def down(site):
    return Down(MemoryStore(site.clock))

def nothing(site):
    return None

VALUE = 1
"""
ENTRIES = "[forecourt.stores]\ncounting = stores_of_test:counting\ndown = stores_of_test:down\n"
ENTRIES += "nothing = stores_of_test:nothing\nvalue = stores_of_test:VALUE\n"

LAYERS = """
from examples.extending.layers import LargestHeader
from forecourt import Extra

LARGEST = Extra("security", lambda app, site: LargestHeader(app, most=60))
VALUE = 1
"""
OF_LAYERS = "[forecourt.layers]\nlargest_header = layers_of_test:LARGEST\nvalue = layers_of_test:VALUE\n"


@pytest.fixture
def stores(packages: Packages) -> Packages:
    """A package that brings stores."""
    packages.install("stores_of_test", STORES, ENTRIES)
    return packages


def service(config: JobConfig, *extra: str) -> Starlette:
    """Build an app of one endpoint."""

    async def look(_: Request) -> Response:
        return PlainTextResponse("")

    app = Starlette(routes=[Route("/", look, name="look")])
    app.add_middleware(PolicyMiddleware, config=config, extra=extra)
    return app


def test_a_store_is_found_by_its_scheme(stores: Packages, tmp_path: Path) -> None:
    """A policy file names it; it is told its address and the clock, and decides."""
    path = tmp_path / "policies.toml"
    limit = "rate_limit = { type = 'fixed_window', limit = 2, window = 60 }"
    path.write_text(f"store = 'counting://here/1'\n[default]\n{limit}\n")
    config = JobConfig.from_file(path)
    assert not stores.imported("stores_of_test")
    with TestClient(service(config)) as client:
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
    import stores_of_test  # type: ignore[import-not-found]  # installed by this test

    ((site, store),) = stores_of_test.MADE
    assert isinstance(site, StoreSite)
    assert (site.address, isinstance(site.clock, SystemClock)) == ("counting://here/1", True)
    assert store.trips >= 2


async def test_failure_policies_watch_over_it(stores: Packages) -> None:
    """While it is down each question's own policy answers, as with Redis."""
    store = store_at("down://", FakeClock())
    answers = [(await store.decide([Question("fixed_window", "a", (1, 60, 1, 0), "local")]))[0] for _ in range(2)]
    assert [(answer.verdict, answer.degraded) for answer in answers] == [("go", True), ("refuse", True)]


@pytest.mark.parametrize(
    ("store", "cache", "laned"),
    [
        ("counting://a", None, False),
        ("counting://a", "counting://a", False),
        ("counting://a", "memory://", False),
        ("counting://a", "counting://b", True),
        ("counting://a", "redis://localhost", True),
        ("memory://", "counting://b", True),
    ],
)
def test_kept_answers_may_be_with_it(stores: Packages, store: str, cache: str | None, laned: bool) -> None:
    """By itself where it is the cache's store too; a store of its own for them where the config says so."""
    opened = store_at(store, FakeClock(), cache_url=cache)
    assert isinstance(opened, LanedStore) == laned


def test_a_scheme_that_nobody_brings_is_told(stores: Packages) -> None:
    """With what is installed; what is brought and is no store too."""
    with pytest.raises(ConfigError, match=r'"countin://…" is not allowed: .* did you mean "counting"'):
        JobConfig(store="countin://here")
    with pytest.raises(ConfigError, match=r"memory, .*, counting, down, nothing, value"):
        JobConfig(store="zzz://here")
    for url, why in (
        ("nothing://", "what 'nothing' of forecourt.stores made is no Store, but NoneType"),
        ("value://", "it must name a function of a StoreSite"),
        ("zzz://", "its scheme is unknown, and no package brings it"),
    ):
        with pytest.raises(ConfigError, match=why):
            store_at(url, FakeClock())


def test_jobs_need_a_queue_beside_it(stores: Packages) -> None:
    """A store is no queue: jobs beside one that a package brings say where they wait."""
    offload = EndpointPolicy(offload=Offload())
    config = JobConfig(default=EndpointPolicy(), endpoints={"look": offload}, store="counting://", keys=[b"k" * 32])
    with pytest.raises(ConfigError, match=r'queues.default: no queue lives at "counting://…": .* bring none'):
        JobQueues(config, SystemClock()).queue("default")


async def test_a_layer_is_found_by_its_name(packages: Packages) -> None:
    """Only when an app says it: then it stands where it says itself."""
    packages.install("layers_of_test", LAYERS, OF_LAYERS)
    large = {"x-large": "a" * 60}
    config = JobConfig(default=EndpointPolicy())
    async with UnderTest(service(config), config) as tested:
        assert (await tested.get("/", headers=large)).status == 200
    assert not packages.imported("layers_of_test")
    config = JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=9, window=1)))
    async with UnderTest(service(config, "largest_header"), config) as tested:
        refused = await tested.get("/", headers=large)
        assert (refused.status, decisions(refused)) == (431, {"largest_header": "refused"})


def test_a_layer_that_nobody_brings_is_told(packages: Packages) -> None:
    """With the nearest, or all there are; what is brought and is no layer too."""
    packages.install("layers_of_test", LAYERS, OF_LAYERS)
    config = JobConfig(default=EndpointPolicy())
    for name, why in (
        ("largest_headers", 'brings .largest_headers. of forecourt.layers; did you mean "largest_header"'),
        ("zzz", "they bring largest_header, value"),
        ("value", "it must be of type Extra"),
    ):
        with pytest.raises(ConfigError, match=why):
            PolicyMiddleware(MemoryStore, config, extra=[name])  # type: ignore[arg-type]  # any app
