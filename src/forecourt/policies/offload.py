"""Which endpoints become jobs: a worker runs the handler, the caller gets a job to look at."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from forecourt.core.webhooks import EVERYWHERE, target_of
from forecourt.policies.quantities import Count, Delay, Duration, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, fault, refusal, refused, said

Mode = Literal["always", "prefer"]

DEFAULT_QUEUE = "default"
"""The queue that needs no entry in `queues`: it lives where the config's `store` is."""

WEBHOOKS = "webhooks"
"""The queue of the messages that tell of jobs' ends; an entry in `queues` says where, else it is with the store."""

BY_HEADER, BY_KEY = "header:", "api_key"

SHORTEST_LEASE = 1
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FIELD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_SECRET_FIELDS = frozenset({"authorization", "cookie", "proxy-authorization", "dpop", "x-api-key"})


def queue_name(value: str) -> str:
    """Return a queue's name, if it can be part of a key."""
    if not _NAME.fullmatch(value):
        raise refused(value, "must be 1 to 64 letters, digits, _ or -")
    return value


def _headers(names: frozenset[str]) -> frozenset[str]:
    for name in sorted(names):
        if not _FIELD.fullmatch(name):
            raise refused(name, "must be the name of a header field")
        if name.lower() in _SECRET_FIELDS:
            raise refused(name, "must not be carried by a job: the worker is told the verified principal instead")
    return frozenset(name.lower() for name in names)


def _callback(value: str | None) -> str | None:
    if value is None or value == BY_KEY:
        return value
    name = value.removeprefix(BY_HEADER)
    if name != value:
        if not _FIELD.fullmatch(name) or name.lower() in _SECRET_FIELDS:
            raise refused(value, "must name a header field that carries no credential, as in header:X-Callback")
        return BY_HEADER + name.lower()
    try:
        target_of(value, EVERYWHERE)
    except ValueError as error:
        raise said(f'{error}; or say "header:X-Callback" or "api_key"') from None
    return value


class Offload(Words):
    """A call of this endpoint is a job: it is answered with 202 at once, and a worker runs the handler.

    `queue`: where the job waits; a name of the config's `queues`, or `default`. `mode`: `always`, or only where the
    caller says `Prefer: respond-async` (`prefer`). `timeout`: seconds that one attempt may take. `max_attempts`: how
    often it is tried before it is dead. `lease`: a job whose worker does not renew it for so many seconds is tried
    again. `expires`: a job that has not begun after so many seconds fails. `result_ttl`: seconds that the result is
    kept. `delay`: seconds before it may begin. `max_body`: bytes of the request's body; `max_result`: of the result's.
    `max_queued`: jobs in the queue beyond which callers get 503. `headers`: request fields that the handler needs
    besides `Accept`, `Content-Type` and those of tracing. `callback`: where its end is told: an https address,
    `header:NAME` (the caller names it in that field), or `api_key` (the record of the caller's key does).
    """

    queue: Annotated[str, AfterValidator(queue_name)] = DEFAULT_QUEUE
    mode: Mode = "always"
    timeout: Duration | None = None
    max_attempts: Count = 3
    lease: Duration = 15
    delay: Delay = 0
    expires: Duration = 86400
    result_ttl: Duration = 86400
    max_body: Count = 1 << 20
    max_result: Count = 1 << 20
    max_queued: Count = 10_000
    headers: Annotated[frozenset[str], AfterValidator(_headers)] = Field(default_factory=frozenset)
    callback: Annotated[str | None, AfterValidator(_callback)] = None

    def terms(self) -> tuple[int, int, int, int]:
        """Return (lease, delay, expires, result_ttl), each in µs."""
        return (
            microseconds(self.lease),
            microseconds(self.delay),
            microseconds(self.expires),
            microseconds(self.result_ttl),
        )

    @model_validator(mode="after")
    def _possible(self) -> "Offload":
        if exact(self.lease) < SHORTEST_LEASE:
            reason = f"must be at least {SHORTEST_LEASE} second, to be renewed in time"
            raise refusal(type(self).__name__, [fault("lease", self.lease, reason)])
        if exact(self.delay) >= exact(self.expires):
            reason = f"must be less than expires, {self.expires}"
            raise refusal(type(self).__name__, [fault("delay", self.delay, reason)])
        return self


OffloadField = Annotated[
    Offload | Literal["off"] | None,
    PlainValidator(switched(Offload), json_schema_input_type=Offload | Literal["off"] | None),
]
"""What the field `offload` takes."""
