"""The endpoints of jobs: the caller's list, and a job's news as events."""

import asyncio
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from forecourt import Offload
from forecourt.errors import StoreDown
from forecourt.inspection import stack_of
from forecourt.jobs.memory import MemoryQueue
from tests.asgi import Answer, call, http
from tests.callers import Caller, settle_down
from tests.jobs.services import Reports, address


async def listed(service: Reports, path: str = "/jobs/", user: str = "ali") -> Any:
    """Return a page of a caller's jobs."""
    path, _, query = path.partition("?")
    scope = http(path, client=address(user))
    scope["query_string"] = query.encode()
    answer = await call(service.app, scope)
    assert (answer.status, answer.headers["cache-control"]) == (200, "private, no-cache")
    return json.loads(answer.body)


def queue_of(service: Reports) -> MemoryQueue:
    """Return the queue of a service's jobs."""
    queue = stack_of(service.api, "offload").jobs.queues.queue("default")
    assert isinstance(queue, MemoryQueue)
    return queue


def events(answer: Answer) -> list[dict[str, str]]:
    """Read the events of a stream."""
    blocks = answer.body.decode().split("\n\n")
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks if "data: " in block]


async def test_a_caller_has_a_list_of_their_jobs() -> None:
    """Page by page, the latest first, each as its own endpoint shows it, and nobody else's."""
    service = Reports()
    made = [(await service.post(f"/reports/{name}")).headers["location"] for name in "abcde"]
    await service.post(user="bob")
    await settle_down()
    page, seen = await listed(service, "/jobs/?limit=2"), []
    assert [each["status"] for each in page["jobs"]] == ["succeeded", "succeeded"]
    assert page["jobs"][0] == await service.status_of(page["jobs"][0]["links"]["self"])
    seen += page["jobs"]
    while "next" in page:
        page = await listed(service, page["next"])
        seen += page["jobs"]
    assert sorted(each["links"]["self"] for each in seen) == sorted(made)
    assert len(seen) == 5
    assert len((await listed(service, user="bob"))["jobs"]) == 1
    assert await listed(service, user="eve") == {"jobs": []}


async def test_without_the_stack_there_is_nobody_to_list_for() -> None:
    """404, where the endpoints are mounted in another app too, which asks nobody who they are."""
    service = Reports()
    await service.post()
    alone = Starlette(routes=[Mount("/jobs", service.config.jobs)])
    answer = await call(alone, http("/jobs/", client=address("ali")))
    assert (answer.status, json.loads(answer.body)["type"].rpartition("/")[2]) == (404, "no-such-job")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=many", "after=x", "after=1-", "after=-a", "after=" + "9" * 17 + "-a"]
)
async def test_a_page_that_is_none_is_refused(query: str) -> None:
    """400, in words."""
    service = Reports()
    scope = http("/jobs/")
    scope["query_string"] = query.encode()
    answer = await call(service.app, scope)
    assert (answer.status, json.loads(answer.body)["title"]) == (400, "Bad Request")


async def test_news_come_as_events_until_the_job_has_ended() -> None:
    """One for each change, with an id; the last says how it ended; a quiet while is filled with comments."""
    service = Reports()
    service.go_on.clear()
    location = (await service.post()).headers["location"]
    await settle_down()
    caller = await Caller.begin(service.app, f"{location}/events", address("ali"))
    await service.advance(20, 0.5)
    service.go_on.set()
    await service.advance(1, 0.1)
    answer = await asyncio.wait_for(caller.end(), 5)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer)
    assert [each["event"] for each in told][-1] == "succeeded"
    assert {each["event"] for each in told} == {"running", "succeeded"}
    assert len({each["id"] for each in told}) == len(told)
    assert json.loads(told[-1]["data"])["progress"] == 0.5
    assert b": still there" in answer.body


async def test_what_is_known_is_not_told_again() -> None:
    """With `Last-Event-ID` only later news come: of a job that has ended, none."""
    service = Reports()
    location = (await service.post()).headers["location"]
    await settle_down()
    (last,) = events(await service.ask("GET", f"{location}/events"))
    again = await service.ask("GET", f"{location}/events", (b"last-event-id", last["id"].encode()))
    assert events(again) == []


async def test_only_the_owner_has_the_news() -> None:
    """404 for others, and for a job that never was."""
    service = Reports()
    location = (await service.post()).headers["location"]
    assert (await service.ask("GET", f"{location}/events", user="bob")).status == 404
    assert (await service.ask("GET", "/jobs/default.unknown/events")).status == 404


@pytest.mark.parametrize("lost", [True, False])
async def test_a_stream_ends_where_nothing_more_is_known(lost: bool) -> None:
    """The queue does not answer, or has forgotten the job: the caller may come again."""
    service = Reports(Offload(delay=60))
    location = (await service.post()).headers["location"]
    caller = await Caller.begin(service.app, f"{location}/events", address("ali"))

    async def look(_: str) -> None:
        if lost:
            raise StoreDown("gone")

    queue_of(service).look = look  # type: ignore[method-assign, assignment]
    await service.advance(0.5, 0.1)
    assert [each["event"] for each in events(await asyncio.wait_for(caller.end(), 5))] == ["queued"]


async def test_with_the_queue_down_it_is_503() -> None:
    """List and events say so, with `Retry-After`."""
    service = Reports()
    location = (await service.post()).headers["location"]

    async def down(*_: object) -> None:
        raise StoreDown("gone")

    queue_of(service).look = down  # type: ignore[method-assign, assignment]
    queue_of(service).owned = down  # type: ignore[method-assign, assignment]
    for path in (f"{location}/events", "/jobs/"):
        answer = await service.ask("GET", path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
