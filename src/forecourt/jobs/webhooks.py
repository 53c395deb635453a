"""Webhooks: callers are told when their jobs have ended, by signed messages that are tried for a day.

A message is a job itself, on the queue `webhooks`, so that what is still to be told outlives any process. Each attempt
is one job of it: one that fails publishes the next, under an id of its own, to begin after a pause; only then is it
done. So nothing is sent by the memory of a process, and a worker that dies in between has its attempt made by another.

That there is something to tell is certain too. Before a job is published, a job is, that looks whether the first has
ended (`watch`), after a minute and then more and more rarely. Whoever sees a job end, publishes its message at once;
where nobody was left to see it (a worker killed in between, a job that was cancelled), the watch does. Both give the
message the same id, so that there is one.

An address that answers 410 is left alone for thirty days: a job of the id `gone_…` says so, for as long as its record
is kept.
"""

import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from forecourt.core.webhooks import pause, secrets_for, signature
from forecourt.errors import StoreError
from forecourt.jobs.envelope import Callback, Delivery, JobRequest
from forecourt.jobs.posting import Poster, Undelivered
from forecourt.jobs.queue import NewJob, Record
from forecourt.jobs.queues import JobQueues
from forecourt.policies.offload import WEBHOOKS
from forecourt.policies.webhooks import Webhooks
from forecourt.principals import digest
from forecourt.types import SECOND, Clock, Send

logger = logging.getLogger("forecourt")

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]
"""An address, fields, a body → the status of the answer; Undelivered where there is none."""

DAY = 86_400 * SECOND
GONE = 30 * DAY
"""µs for which an address that answered 410 is left alone."""

_FIRST_LOOK, _LONGEST_LOOK = 60 * SECOND, 600 * SECOND
_LEASE = 15 * SECOND
_KEPT = 7 * DAY
_ATTEMPTS = 5
"""How often one attempt is begun, where workers die of it or the queue does not answer."""
_MOST = 100_000


class Deliveries:
    """Publishes and runs what tells callers of their jobs; `spread` gives numbers from 0 to 1."""

    def __init__(
        self,
        queues: JobQueues,
        policy: Webhooks,
        clock: Clock,
        *,
        post: Post | None = None,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._queues = queues
        self._queue = queues.queue(WEBHOOKS)
        self._envelopes = queues.envelopes(WEBHOOKS)
        self._secrets = policy.secrets.keys
        self._clock = clock
        self._post = post or Poster(policy.rules(), policy.seconds())
        self._spread = spread

    async def watch(self, job: str, callback: Callback) -> None:
        """Have somebody look whether this job has ended, and tell it; before the job is published."""
        await self._publish(f"watch_{job}", Delivery("watch", job, callback), _FIRST_LOOK)

    async def ended(self, record: Record, callback: Callback) -> None:
        """Tell that a job has ended; where the queue does not answer, its watch will."""
        try:
            await self._tell(record, callback)
        except StoreError as error:
            logger.warning("a webhook is told later: %s", error)

    async def run(self, request: JobRequest, send: Send) -> None:
        """Run one job of the queue; an answer of 502 has no next attempt."""
        delivery = request.delivery
        assert delivery is not None
        status = 204
        if delivery.kind == "watch":
            await self._look(delivery)
        elif delivery.kind == "post":
            status = await self._attempt(delivery, request.body)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _look(self, delivery: Delivery) -> None:
        queue = self._queues.queues().get(delivery.job.partition(".")[0])
        record = await queue.look(delivery.job) if queue else None
        if record is None:
            return  # it was never published, or its time is over
        if record.ended:
            await self._tell(record, delivery.callback)
            return
        number = delivery.attempt
        later = min(_LONGEST_LOOK, _FIRST_LOOK << min(number, 8))
        await self._publish(f"watch_{record.id}.{number}", delivery._replace(attempt=number + 1), later)

    async def _tell(self, record: Record, callback: Callback) -> None:
        message = f"msg_{digest(record.id, record.status, str(record.changed))}"
        delivery = Delivery("post", record.id, callback, message)
        await self._publish(f"{message}.1", delivery, 0, told(record, callback.location))

    async def _attempt(self, delivery: Delivery, body: bytes) -> int:
        """Post the message; where that fails, publish the next attempt, or say 502 where there is none."""
        callback = delivery.callback
        if await self._queue.look(_gone(callback)):
            return 204
        answer = await self._answer(delivery, body)
        if 200 <= answer.status < 300:
            return 204
        if answer.status == 410:
            logger.warning("webhooks of job %s are not wanted any more (410)", delivery.job)
            await self._publish(_gone(callback), Delivery("gone", delivery.job, callback), 0)
            return 204
        logger.info("webhook %s, attempt %d: %s", delivery.message, delivery.attempt, answer.why)
        later = pause(delivery.attempt, self._spread())
        if later is None:
            return 502
        number = delivery.attempt + 1
        await self._publish(f"{delivery.message}.{number}", delivery._replace(attempt=number), later, body)
        return 204

    async def _answer(self, delivery: Delivery, body: bytes) -> "_Answer":
        timestamp = self._clock.now() // SECOND
        secrets = secrets_for(delivery.callback.owner, self._secrets)
        headers = {
            "content-type": "application/json",
            "user-agent": "forecourt",
            "webhook-id": delivery.message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(delivery.message, timestamp, body, secrets),
        }
        try:
            status = await self._post(delivery.callback.url, headers, body)
        except Undelivered as error:
            return _Answer(0, str(error))
        return _Answer(status, f"answered {status}")

    async def _publish(self, name: str, delivery: Delivery, delay: int, body: bytes = b"") -> None:
        request = JobRequest(
            WEBHOOKS, "POST", "/", b"", "", "https", (), body, delivery=delivery, at_rest=delivery.callback.at_rest
        )
        kept = GONE if delivery.kind == "gone" else _KEPT
        last = pause(delivery.attempt, 0) is None
        terms = (1 if last else _ATTEMPTS, _LEASE, delay, delay + DAY, kept, _MOST)
        envelope = self._envelopes.seal(name, request)
        owner = delivery.callback.owner or "service"
        await self._queue.publish(NewJob(name, owner, WEBHOOKS, "", envelope, *terms))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    why: str


def told(record: Record, location: str) -> bytes:
    """Return the message of a job's end, as Standard Webhooks forms one: type, timestamp, data."""
    shown: dict[str, object] = {
        "id": record.id,
        "status": record.status,
        "endpoint": record.endpoint,
        "attempts": record.attempts,
    }
    if record.reason:
        shown["reason"] = record.reason
    if location:
        location = location.replace("{job_id}", record.id)
        shown["links"] = {"self": location, "result": f"{location}/result"}
    when = datetime.fromtimestamp(record.changed / SECOND, UTC).isoformat()
    message = {"type": f"job.{record.status}", "timestamp": when, "data": shown}
    return json.dumps(message, separators=(",", ":")).encode()


def _gone(callback: Callback) -> str:
    return f"gone_{digest(callback.url, callback.owner)}"
