"""The endpoints of jobs: the caller's jobs, how a job stands, its news as events, its result, and its end.

Only the owner sees a job: the principal who called, or for anonymous callers the same client address. For all others it
is 404, as is a job that never was. With an `ETag`, and `Prefer: wait=N` beside `If-None-Match`, a caller waits for
news (30 seconds at most). The event stream gives all news until the job has ended.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from forecourt.errors import StoreError
from forecourt.exchange import KEY, Exchange
from forecourt.jobs.queue import Lists, Queue, Record
from forecourt.jobs.queues import JobQueues
from forecourt.jobs.results import JobResult
from forecourt.policies.offload import WEBHOOKS
from forecourt.responses import OVERLOADED, STORE_UNAVAILABLE, TYPES, Problem
from forecourt.sealing import at_rest, tenant_of
from forecourt.types import SECOND

NOT_FOUND = Problem(404, "Not Found", TYPES + "no-such-job", "There is no such job, or it is not yours.")
NOT_READY = Problem(404, "Not Found", TYPES + "no-result", "This job has no result.")
NO_PAGE = Problem(400, "Bad Request", TYPES + "no-such-page", "Say limit=1 to 100, and `after` as `next` had it.")
LONGEST_WAIT = 30
MOST_LISTED = 100
_WAIT = re.compile(r"\bwait=(\d{1,9})\b")
_LOOK = 0.1
_QUIET = 15 * SECOND
_RECONNECT_MS = 2000


class JobEndpoints:
    """Answers the endpoints of one config's jobs; `owner_of` says whose jobs a caller sees."""

    def __init__(self, queues: JobQueues, owner_of: Callable[[Exchange], str]) -> None:
        self._queues = queues
        self._owner_of = owner_of

    async def status(self, request: Request) -> Response:
        """Say how the job stands; 304 where that is what the caller knows."""
        try:
            found = await self._own(request)
            if found is None:
                return _problem(NOT_FOUND)
            record = await self._news(request, *found)
        except StoreError:
            return _problem(STORE_UNAVAILABLE)
        headers = {"etag": _tag(record), "cache-control": "private, no-cache"}
        if not record.ended:
            headers["retry-after"] = "1"
        if request.headers.get("if-none-match") == _tag(record):
            return Response(status_code=304, headers=headers)
        return JSONResponse(_shown(record, request), headers=headers)

    async def list(self, request: Request) -> Response:
        """Return the caller's jobs, the latest first, page by page; 400 for a page that is none."""
        exchange: Exchange | None = request.scope.get(KEY)
        if exchange is None:
            return _problem(NOT_FOUND)
        try:
            most = min(MOST_LISTED, int(request.query_params.get("limit", "20")))
            before = _cursor(request.query_params.get("after"))
        except ValueError:
            return _problem(NO_PAGE)
        if most < 1:
            return _problem(NO_PAGE)
        owner = self._owner_of(exchange)
        try:
            found = [await queue.owned(owner, most + 1, before) for queue in self._listing()]
        except StoreError:
            return _problem(STORE_UNAVAILABLE)
        records = sorted((each for page in found for each in page), key=_age)[: most + 1]
        shown: dict[str, object] = {"jobs": [_shown(each, request) for each in records[:most]]}
        if len(records) > most:
            last = records[most - 1]
            shown["next"] = f"{request.scope.get('root_path', '')}/?limit={most}&after={last.created}-{quote(last.id)}"
        return JSONResponse(shown, headers={"cache-control": "private, no-cache"})

    async def events(self, request: Request) -> Response:
        """Stream how the job stands, whenever it stands otherwise, until it has ended (server-sent events)."""
        try:
            found = await self._own(request)
        except StoreError:
            return _problem(STORE_UNAVAILABLE)
        if found is None:
            return _problem(NOT_FOUND)
        headers = {"cache-control": "private, no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(self._told(request, *found), headers=headers, media_type="text/event-stream")

    async def result(self, request: Request) -> Response:
        """Answer as the handler did; 404 while there is no result."""
        try:
            found = await self._own(request)
            if found is None:
                return _problem(NOT_FOUND)
            queue, record = found
            stored = await queue.result(record.id)
        except StoreError:
            return _problem(STORE_UNAVAILABLE)
        result = None if stored is None else self._read(request.scope[KEY], record, stored)
        return _problem(NOT_READY) if result is None else result.response()

    async def cancel(self, request: Request) -> Response:
        """End the job: 204, also where it was cancelled before; 409 where it has ended otherwise."""
        try:
            found = await self._own(request)
            record = await found[0].cancel(found[1].id) if found else None
        except StoreError:
            return _problem(STORE_UNAVAILABLE)
        if record is None:
            return _problem(NOT_FOUND)
        if record.status != "cancelled":
            return _problem(Problem(409, "Conflict", TYPES + "job-ended", f"This job has {record.status}."))
        return Response(status_code=204)

    def _read(self, exchange: Exchange, record: Record, stored: bytes) -> JobResult | None:
        """Return a result; None where it does not open."""
        envelopes = self._queues.envelopes(record.id.partition(".")[0])
        sealed = at_rest(exchange.runtime.config, record.endpoint)
        tenant = tenant_of(exchange.principal)
        try:
            plain = envelopes.result(record.id, record.endpoint, stored, tenant, at_rest=sealed)
        except ValueError:
            return None
        return JobResult.read(plain)

    def _listing(self) -> Iterator[Lists]:
        """Yield the queues of jobs that know whose they are."""
        for name, queue in self._queues.queues().items():
            if name != WEBHOOKS and isinstance(queue, Lists):
                yield queue

    async def _told(self, request: Request, queue: Queue, record: Record) -> AsyncIterator[str]:
        """Yield an event for each change, and a comment where there was none for a while, to see who has left."""
        clock = request.scope[KEY].runtime.clock
        known = request.headers.get("last-event-id", "")
        said = clock.now()
        yield f"retry: {_RECONNECT_MS}\n\n"
        while True:
            tag = _tag(record).strip('"')
            if tag != known:
                known, said = tag, clock.now()
                yield f"id: {tag}\nevent: {record.status}\ndata: {json.dumps(_shown(record, request))}\n\n"
            elif clock.now() - said >= _QUIET:
                said = clock.now()
                yield ": still there\n\n"
            if record.ended:
                return
            await clock.sleep(_LOOK)
            try:
                looked = await queue.look(record.id)
            except StoreError:
                return  # the caller asks again, with the id of the last event
            if looked is None:
                return
            record = looked

    async def _own(self, request: Request) -> tuple[Queue, Record] | None:
        """Return the caller's own job; None where there is none, or no stack that says who is calling."""
        exchange: Exchange | None = request.scope.get(KEY)
        job: str = request.path_params["job_id"]
        queue = self._queues.queues().get(job.partition(".")[0])
        if exchange is None or queue is None:
            return None
        record = await queue.look(job)
        if record is None or record.owner != self._owner_of(exchange):
            return None
        return queue, record

    async def _news(self, request: Request, queue: Queue, record: Record) -> Record:
        """Wait until the job stands otherwise than the caller knows, for as long as it prefers."""
        known = request.headers.get("if-none-match")
        wanted = _WAIT.search(request.headers.get("prefer", ""))
        clock = request.scope[KEY].runtime.clock
        until = clock.now() + min(LONGEST_WAIT, int(wanted[1]) if wanted else 0) * SECOND
        while not record.ended and _tag(record) == (known or _tag(record)) and clock.now() < until:
            await clock.sleep(_LOOK)
            record = await queue.look(record.id) or record
        return record


def _age(record: Record) -> tuple[int, tuple[int, ...]]:
    """Order the latest first, of one instant by id backwards, as queues do."""
    return -record.created, tuple(-ord(each) for each in record.id)


def _cursor(text: str | None) -> tuple[int, str] | None:
    """Read where a page begins: after the job of this instant and id; ValueError for other text."""
    if text is None:
        return None
    created, dash, job = text.partition("-")
    if not dash or not job or len(created) > 16 or not created.isdecimal():
        raise ValueError(text)
    return int(created), job


def _tag(record: Record) -> str:
    stands = f"{record.status} {record.attempts} {record.changed} {record.progress} {record.note}"
    return f'"{hashlib.blake2b(stands.encode(), digest_size=9).hexdigest()}"'


def _shown(record: Record, request: Request) -> dict[str, object]:
    path = request.scope.get("root_path", "") + "/" + record.id
    shown: dict[str, object] = {
        "id": record.id,
        "status": record.status,
        "endpoint": record.endpoint,
        "attempts": record.attempts,
        "created": record.created / SECOND,
        "changed": record.changed / SECOND,
        "links": {"self": path, "result": path + "/result"},
    }
    if record.progress >= 0:
        shown["progress"] = record.progress
        shown["note"] = record.note
    if record.reason:
        failed = Problem(500, "Job Failed", TYPES + "job-failed", record.reason)
        shown["problem"] = failed.members()
    return shown


def _problem(problem: Problem) -> Response:
    headers = {"retry-after": "1"} if problem in (STORE_UNAVAILABLE, OVERLOADED) else {}
    return JSONResponse(problem.members(), problem.status, headers, media_type="application/problem+json")
