"""Doing a thing once, however often it is asked for."""

import re
from collections.abc import Set as AbstractSet
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from forecourt.core.idempotency_fields import MOST_POINTERS, Pointer
from forecourt.policies.limit import Key
from forecourt.policies.quantities import Count, Delay, Duration, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, fault, refusal, refused

Fingerprinted = Literal["method", "path", "query", "content_type", "body"]

SHORTEST_LEASE = 1
"""Seconds: renewals, a third of it apart, must have time to be tried again."""

LONGEST_WAIT = 60
KIB = 1024
MOST_BODY = 4 * 1024 * KIB
"""The largest answer that may be kept: it travels beside decisions."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

WHOLE: frozenset[Fingerprinted] = frozenset({"method", "path", "query", "content_type", "body"})


def _header(value: object) -> str:
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        raise refused(value, "must be the name of a header, as in Idempotency-Key")
    return value


def _bytes(value: int) -> int:
    if value > MOST_BODY:
        raise refused(value, f"must be at most {MOST_BODY} bytes")
    return value


def _pointers(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > MOST_POINTERS:
        raise refused(values, f"must be at most {MOST_POINTERS} JSON pointers")
    for place, value in enumerate(values):
        try:
            Pointer.parse(value)
        except ValueError:
            raise refused(value, f'must be a JSON pointer (RFC 6901): did you mean "{_nearest(value)}"?') from None
        if value in values[:place]:
            raise refused(value, "must be there once")
    return values


def _nearest(value: str) -> str:
    """Return the pointer that was meant: `$.order.amount` and `order/amount` are `/order/amount`."""
    names = value.removeprefix("$").replace(".", "/").strip("/")
    return "/" + re.sub("~(?![01])", "~0", names)


def _whose(value: str | None) -> str | None:
    if value == "endpoint":
        raise refused(value, "must tell callers apart: one caller's answer is never another's")
    return value


class Idempotency(Words):
    """A call with the same key and payload is carried out once; asked for again, its answer is replayed.

    `required`: without a key a call is refused with 400; otherwise it passes by. `header`: where the key stands.
    `key`: to whom keys belong; None is the principal, and endpoints that let in anonymous callers must say: `client`,
    `header:NAME` or a name in `key_functions`. `ttl`: how long an answer is kept. `wait`: so many seconds a call waits
    for another of its key that is at work, before 409. `on_unknown`: what if nobody knows what became of the call (the
    handler failed, its process died): never again (`block`), again (`retry`), or its answer even if that is a 5xx
    (`replay`; without an answer, as `block`). `max_body`: of a larger answer only the status and fields are kept.
    `max_records`: so many are kept for each caller. `lease`: a call that nobody renews for so many seconds is unknown.
    `fingerprint`: what makes two payloads the same. `fields`: of a JSON body, only what these JSON pointers (RFC 6901)
    name. `database`: the config's database in which the record is written too, by the transaction that does the work.
    """

    required: bool = True
    header: Annotated[str, PlainValidator(_header, json_schema_input_type=str)] = "Idempotency-Key"
    key: Annotated[Key | None, AfterValidator(_whose)] = None
    ttl: Duration = 86_400
    wait: Delay = 0
    on_unknown: Literal["block", "retry", "replay"] = "block"
    max_body: Annotated[Count, AfterValidator(_bytes)] = 64 * KIB
    max_records: Count = 1000
    lease: Duration = 15
    fingerprint: Annotated[AbstractSet[Fingerprinted], Field(min_length=1), AfterValidator(frozenset)] = WHOLE
    fields: Annotated[tuple[str, ...], AfterValidator(_pointers)] = ()
    database: str | None = None

    def times(self) -> tuple[int, int]:
        """Return (how long a record lives, how long a lease does), in µs."""
        return microseconds(self.ttl), microseconds(self.lease)

    def pointers(self) -> tuple[Pointer, ...]:
        """Return what of a JSON body is compared; none: all of it."""
        return tuple([Pointer.parse(field) for field in self.fields])

    @property
    def anonymous(self) -> bool:
        """Whether keys are said to belong to someone whom an anonymous caller has too."""
        return self.key not in (None, "principal", "tenant")

    @model_validator(mode="after")
    def _possible(self) -> "Idempotency":
        wrong = []
        if exact(self.lease) < SHORTEST_LEASE:
            wrong.append(fault("lease", self.lease, f"must be at least {SHORTEST_LEASE} second, to be renewed in time"))
        if exact(self.ttl) < exact(self.lease):
            wrong.append(fault("ttl", self.ttl, "must be at least lease"))
        if exact(self.wait) > LONGEST_WAIT:
            wrong.append(fault("wait", self.wait, f"must be at most {LONGEST_WAIT} seconds"))
        if self.database is not None and self.on_unknown != "retry":
            wrong.append(
                fault("on_unknown", self.on_unknown, 'must be "retry" with database, which knows what was done')
            )
        if self.fields and "body" not in self.fingerprint:
            wrong.append(fault("fields", self.fields, 'choose of the body, so fingerprint must have "body"'))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self


IdempotencyField = Annotated[
    Idempotency | Literal["off"] | None,
    PlainValidator(switched(Idempotency), json_schema_input_type=Idempotency | Literal["off"] | None),
]
"""What the field `idempotency` takes."""
