"""The worker: claims jobs, runs each through the app, and tells the queue how it ended.

One task claims, one renews the leases of all that is at work, and each job has a task of its own. A job runs at least
once: a worker that dies, or that cannot reach its queue for a lease, has its jobs run by another. What it does then
comes too late: the queue knows the job under another token.

A 5xx, an exception or the end of `timeout` is a failed attempt, followed by the next one after a while; the last one
leaves the job dead, with what was answered kept beside it. `drain` stops claiming, lets what is at work come to its
end, and gives the rest back.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import Context

from forecourt.core.jobs import NO_PROGRESS, Progress
from forecourt.errors import StoreError
from forecourt.jobs.envelope import Envelopes, Forged, JobRequest
from forecourt.jobs.queue import Claimed, Ending, Held, Queue, Record
from forecourt.jobs.results import JobResult
from forecourt.jobs.tracing import ATTEMPT, Attempted
from forecourt.types import SECOND, Clock, Message, Receive, Scope, Send

logger = logging.getLogger("forecourt")

Notes = Mapping[object, object]
RunJob = Callable[[JobRequest, Scope, Receive, Send, Callable[[Notes], None]], Awaitable[None]]
"""Runs one request through the app below its policies; tells the notes of its exchange as soon as there are any."""

Ended = Callable[[JobRequest, Record, int], Awaitable[None]]
"""Told of each job that has ended here: its request, its record, the status answered last (0: none)."""

_BEATS = 4
"""Renewals in a lease."""

_LONGEST_BEAT = 1.0
"""Seconds: how soon a cancelled job is let go."""

_NO_LEASE = 1 << 62
"""µs, longer than any."""

_PAUSE = 1.0
"""Seconds until a queue that did not answer is asked again."""


class TooLarge(Exception):
    """The handler's answer is larger than the policy lets be kept."""


class Worker:
    """Runs the jobs of one queue, so many at a time."""

    def __init__(
        self, queue: Queue, envelopes: Envelopes, run: RunJob, ended: Ended, clock: Clock, *, concurrency: int = 16
    ) -> None:
        self._queue = queue
        self._envelopes = envelopes
        self._run = run
        self._ended = ended
        self._clock = clock
        self._free = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._work: dict[str, _AtWork] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._shortest = _NO_LEASE
        self._beating: asyncio.Task[None] | None = None
        """What renews leases, while it waits for its next beat."""
        self.failures = 0
        """How often the queue did not answer."""

    def __repr__(self) -> str:
        return f"<Worker, {len(self._work)} of {self._concurrency} at work>"

    def start(self) -> None:
        """Begin to claim, on the running loop; no request that started it is current in its jobs."""
        loop, nobodys = asyncio.get_running_loop(), Context()
        self._tasks = [loop.create_task(each, context=nobodys) for each in (self._claim_on(), self._renew_on())]

    async def drain(self, seconds: float) -> None:
        """Stop claiming; let what is at work come to its end within so many seconds, give back what does not."""
        claiming, renewing = self._tasks
        claiming.cancel()
        tasks = {each.task for each in self._work.values() if each.task}
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for each in list(self._work.values()):
            each.give_back()
        if rest := {each.task for each in self._work.values() if each.task}:
            await asyncio.wait(rest)
        renewing.cancel()
        await asyncio.gather(claiming, renewing, return_exceptions=True)

    async def _claim_on(self) -> None:
        empty = 0
        while True:
            await self._free.acquire()
            self._free.release()
            try:
                claimed = await self._claimed(min(self._concurrency - len(self._work), 64))
            except Exception as error:  # noqa: BLE001  # whatever it is: a worker that claims no more is worse
                await self._trouble("claim", error)
                continue
            for each in claimed:
                if not each.token:
                    await self._bury(each)
                    continue
                await self._free.acquire()
                self._begin(each)
            empty = 0 if claimed else empty + 1
            if empty:
                await self._queue.idle(empty)

    async def _claimed(self, most: int) -> list[Claimed]:
        """Claim jobs; those that come when nothing more is to be begun are given back, and cost no attempt."""
        asking = asyncio.ensure_future(self._queue.claim(most))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            with suppress(Exception):  # a lease is the most that it costs
                for each in await asking:
                    if each.token:
                        await self._queue.finish(each.id, each.token, Ending("given back"))
                    else:
                        await self._bury(each)
            raise

    def _begin(self, claimed: Claimed) -> None:
        if before := self._work.get(claimed.id):
            before.lose()  # its lease ended unrenewed, and it has come back to this worker
        at_work = self._work[claimed.id] = _AtWork(claimed)
        self._hurry(claimed.lease)
        at_work.task = asyncio.get_running_loop().create_task(self._run_one(at_work))

    async def _run_one(self, at_work: "_AtWork") -> None:
        claimed = at_work.claimed
        try:
            try:
                request = self._envelopes.open(claimed.id, claimed.envelope)
            except Forged as error:
                logger.error("a job is not run: %s", error)
                await self._finish(claimed, Ending("failed", reason="its envelope is not ours"))
                return
            status, ending = await self._attempt(at_work, request)
            if ending is not None and ending.result:
                ending = ending._replace(result=self._envelopes.kept(claimed.id, request, ending.result))
            if ending is not None and (record := await self._finish(claimed, ending)) and record.ended:
                await self._ended(request, record, status)
        except Exception:
            logger.exception("a job could not be ended; its lease will")
        finally:
            if self._work.get(claimed.id) is at_work:
                del self._work[claimed.id]
            self._free.release()

    async def _bury(self, claimed: Claimed) -> None:
        """Tell of a job that ended while nobody had it."""
        try:
            record = await self._queue.look(claimed.id)
            if record and record.ended:
                await self._ended(self._envelopes.open(claimed.id, claimed.envelope), record, 0)
        except Exception:
            logger.exception("of a job that ended nobody could be told")

    async def _attempt(self, at_work: "_AtWork", request: JobRequest) -> tuple[int, Ending | None]:
        """Run the handler once; no ending where the job is not ours any more."""
        if at_work.lost:
            return 0, at_work.stopped
        answer = _Recorder(request)
        scope = _scope(request, at_work.claimed)
        running = asyncio.ensure_future(self._run(request, scope, answer.receive, answer.send, at_work.told))
        at_work.running = running
        timeout = request.timeout / SECOND if request.timeout else None
        try:
            await asyncio.wait({running}, timeout=timeout)
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
                return 504, Ending("failed", reason="an attempt took longer than its timeout")
        except asyncio.CancelledError:
            running.cancel()
            raise
        if running.cancelled():
            return 0, at_work.stopped
        return _judged(running.exception(), answer)

    async def _finish(self, claimed: Claimed, ending: Ending) -> Record | None:
        """Tell the queue, for as long as the lease may last."""
        until = self._clock.now() + claimed.lease
        while True:
            try:
                return await self._queue.finish(claimed.id, claimed.token, ending)
            except StoreError as error:
                if self._clock.now() >= until:
                    logger.warning("a job's end could not be told: %s; it will run again", error)
                    return None
                await self._trouble("finish", error)

    async def _renew_on(self) -> None:
        while True:
            await self._beat()
            at_work = list(self._work.values())
            if not at_work:
                continue
            try:
                lost = await self._queue.renew([each.held() for each in at_work])
            except Exception as error:  # noqa: BLE001  # the next beat may be in time
                _tell(f"leases of {len(at_work)} jobs not renewed", error)
                continue
            for each in at_work:  # those asked about: one of the same job may have begun since
                if each.claimed.id in lost:
                    each.lose()

    async def _beat(self) -> None:
        """Return when it is time to renew, counted anew where a job begins whose lease is shorter than all others."""
        renewing = asyncio.current_task()
        assert renewing is not None
        while True:
            self._shortest = min((each.claimed.lease for each in self._work.values()), default=_NO_LEASE)
            beat = min(_LONGEST_BEAT, self._shortest / SECOND / _BEATS)
            self._beating = renewing
            try:
                return await self._clock.sleep(beat * random.uniform(0.75, 1))  # noqa: S311  # workers spread
            except asyncio.CancelledError:
                if self._beating is renewing or renewing.uncancel() > 0:
                    raise
            finally:
                self._beating = None

    def _hurry(self, lease: int) -> None:
        """Have the next beat reckon with this lease, where it is shorter than those at work so far."""
        if self._beating is not None and lease < self._shortest:
            beating, self._beating = self._beating, None
            beating.cancel()

    async def _trouble(self, doing: str, error: Exception) -> None:
        self.failures += 1
        _tell(f"the queue did not answer ({doing})", error)
        await self._clock.sleep(_PAUSE)


def _tell(what: str, error: Exception) -> None:
    """Log what a queue did not do; with a traceback where that is no trouble that queues are known to have."""
    logger.warning("%s: %s", what, error, exc_info=None if isinstance(error, StoreError) else error)


class _AtWork:
    """One job at work: its claim, its task, and how far the handler says that it has come."""

    def __init__(self, claimed: Claimed) -> None:
        self.claimed = claimed
        self.task: asyncio.Task[None] | None = None
        self.running: asyncio.Future[None] | None = None
        self.stopped: Ending | None = None
        self.lost = False
        self._notes: Notes = {}

    def told(self, notes: Notes) -> None:
        self._notes = notes

    def held(self) -> Held:
        said = self._notes.get(Progress)
        done, note = said if isinstance(said, Progress) else NO_PROGRESS
        return Held(self.claimed.id, self.claimed.token, self.claimed.lease, done, note)

    def lose(self) -> None:
        """Stop, or do not begin: it is another's, or its owner cancelled it."""
        self.lost = True
        if self.running is not None:
            self.running.cancel()

    def give_back(self) -> None:
        """Stop and have it queued again."""
        self.stopped = Ending("given back")
        self.lose()


class _Recorder:
    """Gives the handler its request and keeps its answer, up to the policy's bound.

    Nobody leaves before the answer is complete; then whoever still receives is told of a disconnect, as servers do.
    """

    def __init__(self, request: JobRequest) -> None:
        self._request = request
        self._received = False
        self._complete = asyncio.Event()
        self._size = 0
        self._parts: list[bytes] = []
        self.status = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = ()

    async def receive(self) -> Message:
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self._complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple((bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._size += len(message.get("body", b""))
            if self._size > self._request.max_result:
                raise TooLarge(f"the answer is over {self._request.max_result} bytes, which max_result allows")
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                self._complete.set()

    def result(self) -> JobResult:
        return JobResult(self.status, self.headers, b"".join(self._parts))


def _judged(error: BaseException | None, answer: _Recorder) -> tuple[int, Ending]:
    """Say how an attempt ended: what the handler answered is the result, unless it is a failure."""
    if isinstance(error, TooLarge):
        return 500, Ending("failed", reason="the answer is larger than max_result")
    if error is not None or answer.status == 0:
        return 500, Ending("failed", reason="the handler raised an exception" if error else "nothing was answered")
    if answer.status >= 500:
        return answer.status, Ending("failed", answer.result().stored(), f"the handler answered {answer.status}")
    return answer.status, Ending("done", answer.result().stored())


def _scope(request: JobRequest, claimed: Claimed) -> Scope:
    """Rebuild the scope that the request had at the stack, with the attempt that this is."""
    length = (b"content-length", str(len(request.body)).encode())
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query,
        "root_path": request.root_path,
        "headers": [*request.headers, length],
        "client": (request.client, 0) if request.client else None,
        "server": None,
        "state": {},
        ATTEMPT: Attempted(claimed.id, claimed.attempts),
    }
