"""A queue of one's own: it keeps what every queue promises, and takes the jobs of a service that names it."""

import asyncio
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from examples.extending.queue import FolderQueue
from forecourt import ConfigError, EndpointPolicy, JobConfig, Jobs, Offload, PolicyMiddleware
from forecourt.config_jobs import MakesQueue
from forecourt.jobs.queue import Queue, QueueSite
from forecourt.jobs.queues import ASIDE, JobQueues
from forecourt.testing import FakeClock, UnderTest
from forecourt.testing_queues import Promise, queue_promises
from forecourt.types import SystemClock
from tests.distributions import Packages

KEY = "a secret of thirty-two bytes or more"
BROUGHT = """
from examples.extending.queue import folder_queue

def nothing(site):
    return site

VALUE = 1
"""
ENTRIES = "[forecourt.queues]\nfolder = brought:folder_queue\nnothing = brought:nothing\nvalue = brought:VALUE\n"


@pytest.mark.parametrize("promise", queue_promises(), ids=lambda promise: str(promise.__name__))
async def test_a_folder_keeps_the_promises(promise: Promise, tmp_path: Path) -> None:
    """Jobs in files are published, claimed, renewed and finished as anywhere."""
    clock = FakeClock()
    queue = FolderQueue(tmp_path / "jobs", clock)
    await queue.open()
    await promise(queue, clock)
    await queue.close()


def service(queue: str | MakesQueue) -> tuple[Starlette, JobConfig]:
    """Build an app whose reports are jobs of the queue `heavy`."""

    async def report(_: Request) -> Response:
        return PlainTextResponse("a report")

    config = JobConfig(
        default=EndpointPolicy(),
        endpoints={"report": EndpointPolicy(offload=Offload(queue="heavy"))},
        queues={"heavy": queue},
        keys=[KEY.encode()],
    )
    routes = [Route("/report", report, methods=["POST"], name="report"), Mount("/jobs", config.jobs, name="jobs")]
    app = Starlette(routes=routes)
    app.add_middleware(PolicyMiddleware, config=config)
    return app, config


async def ended(tested: UnderTest, place: str) -> object:
    """Return what became of a job; the folder is looked at by a thread, so this waits for real."""
    async with asyncio.timeout(30):
        while True:
            tested.clock.advance(1)
            said = (await tested.get(place)).json()
            assert isinstance(said, dict)
            if said["status"] not in ("queued", "running"):
                return said["status"]
            await asyncio.sleep(0.01)


async def test_its_jobs_are_run(tmp_path: Path) -> None:
    """By the process that takes them, as it says it is embedded; operators see them too."""
    app, config = service(lambda site: FolderQueue(tmp_path / site.name, site.clock))
    async with UnderTest(app, config) as tested:
        taken = await tested.post("/report")
        assert taken.status == 202
        assert await ended(tested, taken.headers["location"]) == "succeeded"
        assert (await tested.get(f"{taken.headers['location']}/result")).body == b"a report"
    assert "'heavy': 'own:'" in repr(config)
    async with Jobs(config) as jobs:
        assert (await jobs.depth("heavy"))["dead"] == 0


async def test_its_jobs_are_in_nobodys_list(tmp_path: Path) -> None:
    """It does not say whose its jobs are; whoever asks for a list is given those of other queues."""
    app, config = service(lambda site: FolderQueue(tmp_path / site.name, site.clock))
    async with UnderTest(app, config) as tested:
        assert (await tested.post("/report")).status == 202
        listed = await tested.get("/jobs/")
        assert (listed.status, listed.json()) == (200, {"jobs": []})


def test_workers_have_one_of_their_own(tmp_path: Path) -> None:
    """Each loop gets a queue made for it; beside workers the app runs none of its jobs."""
    made: list[QueueSite] = []

    def make(site: QueueSite) -> Queue:
        made.append(site)
        return FolderQueue(tmp_path, site.clock)

    _, config = service(make)
    queues = JobQueues(config, SystemClock())
    assert queues.queue("heavy") is queues.queue("heavy")
    assert queues.another("heavy") is not queues.queue("heavy")
    assert [(site.name, site.address, site.namespace) for site in made] == [("heavy", "", "fc")] * 2
    assert queues.embedded("heavy")
    assert not queues.in_process("heavy")
    token = ASIDE.set(True)
    assert not queues.embedded("heavy")
    ASIDE.reset(token)


async def test_an_installed_queue_is_found_by_its_scheme(packages: Packages, tmp_path: Path) -> None:
    """It is imported when it is needed, and told its address."""
    packages.install("brought", BROUGHT, ENTRIES)
    app, config = service(f"folder://{tmp_path}")
    assert not packages.imported("brought")
    async with UnderTest(app, config) as tested:
        taken = await tested.post("/report")
        assert await ended(tested, taken.headers["location"]) == "succeeded"
    assert list((tmp_path / "heavy").glob("*.json"))


def test_what_is_no_queue_is_refused(packages: Packages) -> None:
    """A queue instead of its maker; a scheme that nobody brings; what is brought or made, and is no queue."""
    packages.install("brought", BROUGHT, ENTRIES)
    with pytest.raises(ConfigError, match=r"queues.heavy: is a queue, which belongs to one event loop"):
        service(FolderQueue(Path(), SystemClock()))  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ConfigError, match=r'"fodler://…" is not allowed: .* did you mean "folder"'):
        service("fodler://jobs")
    for queue, why in (
        ("nothing://jobs", "what was made for it is no Queue, but QueueSite"),
        ("value://jobs", "it must name a function of a QueueSite"),
    ):
        _, config = service(queue)
        with pytest.raises(ConfigError, match=why):
            JobQueues(config, SystemClock()).queue("heavy")
