"""Which answers are kept and given again, to whom, for how long; and which calls make them invalid."""

import re
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, PlainSerializer, PlainValidator, model_validator

from forecourt.core.caching.freshness import LONGEST, Terms
from forecourt.core.caching.keys import Partition
from forecourt.core.caching.storable import Profile
from forecourt.policies.quantities import Count, Delay, Duration, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.wording import Fault, Words, fault, nearest, not_allowed, refusal, refused
from forecourt.types import SECOND

MIB = 1024 * 1024
MOST_TAGS = 16
MOST_BODY = 64 * MIB
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLACEHOLDER = re.compile(r"[A-Za-z_]\w*")


def placeholders(template: str) -> list[str]:
    """Return the names in braces of a tag; ValueError where the braces do not fit."""
    fields = [(name, form, conversion) for _, name, form, conversion in Formatter().parse(template) if name is not None]
    if any(form or conversion or not _PLACEHOLDER.fullmatch(name) for name, form, conversion in fields):
        raise ValueError("a placeholder is the name of a path parameter in braces, as in record:{record_id}")
    return [name for name, _, _ in fields]


def _tags(value: object) -> frozenset[str]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, Collection) or not all(isinstance(tag, str) and tag for tag in given):
        raise refused(value, 'must be a set of tags such as {"record:{record_id}"}')
    if len(given) > MOST_TAGS:
        raise refused(value, f"must be at most {MOST_TAGS} tags")
    for tag in given:
        try:
            placeholders(tag)
        except ValueError as error:
            raise refused(tag, f"must be a tag such as record:{{record_id}}: {error}") from None
    return frozenset(given)


Tags = Annotated[
    AbstractSet[str], PlainValidator(_tags, json_schema_input_type=list[str]), PlainSerializer(sorted, return_type=list)
]
"""Tags, with path parameters in braces."""


def _vary(value: object) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, Collection) or not all(isinstance(name, str) and _TOKEN.fullmatch(name) for name in given):
        raise refused(value, 'must be names of request headers such as ("Accept-Language",)')
    return tuple(sorted({name.lower() for name in given}))


def _body(value: int) -> int:
    if value > MOST_BODY:
        raise refused(value, f"must be at most {MOST_BODY} bytes")
    return value


class Cache(Words):
    """Answers to GET are kept for `ttl` seconds and given again; without a ttl for as long as the response says.

    `tags`: names by which kept answers are made invalid, with path parameters in braces. `partition`: who shares an
    answer: `anonymous` callers, each `principal`, each `tenant`, callers of equal `scopes` and roles, or `everyone` who
    was let in; None: each principal, and anonymous callers without Cookie and Authorization. `vary`: request headers
    that select an answer, beside those that its Vary names. `stale_while_revalidate`: for so many seconds longer a
    stale answer is given while a new one is made; `stale_if_error`: while the handler fails. `max_body`: bytes of the
    largest answer that is kept. `early_refresh`: refresh a little before the end, the more likely the nearer it is, by
    this factor (1 is the usual one, 0 never). `profile`: `safe` keeps nothing that somebody may have meant for one
    caller; `rfc9111` all that RFC 9111 allows a shared cache.

    With the store down nothing is found, and handlers run.
    """

    ttl: Duration | None = None
    tags: Tags = frozenset()
    partition: Partition | None = None
    vary: Annotated[Sequence[str], PlainValidator(_vary, json_schema_input_type=list[str])] = ()
    stale_while_revalidate: Delay = 0
    stale_if_error: Delay = 0
    max_body: Annotated[Count, AfterValidator(_body)] = 2 * MIB
    early_refresh: Delay = 0
    profile: Profile = "safe"

    def terms(self) -> Terms:
        """Return what this says about time, in µs."""
        return Terms(
            None if self.ttl is None else microseconds(self.ttl),
            microseconds(self.stale_while_revalidate),
            microseconds(self.stale_if_error),
            heuristics=self.profile == "rfc9111",
        )

    @model_validator(mode="after")
    def _possible(self) -> "Cache":
        if wrong := list(self._faults()):
            raise refusal(type(self).__name__, wrong)
        return self

    def _faults(self) -> Iterable[Fault]:
        longest = LONGEST // SECOND
        for field in ("ttl", "stale_while_revalidate", "stale_if_error"):
            value = getattr(self, field)
            if value is not None and exact(value) > longest:
                yield fault(field, value, f"must be at most {longest} seconds, a month")
        if self.early_refresh and exact(self.early_refresh) > 10:
            yield fault("early_refresh", self.early_refresh, "must be at most 10; 1 is the usual one")


def unfit_tags(tags: Iterable[str], parameters: Collection[str], path: str) -> list[str]:
    """Return a sentence for each tag that names what is no parameter of the path."""
    return [
        not_allowed(tag, f"{path} has no parameter {name}{nearest(name, parameters) or _has(parameters)}")
        for tag in sorted(tags)
        for name in placeholders(tag)
        if name not in parameters
    ]


def _has(parameters: Collection[str]) -> str:
    return f"; it has {', '.join(sorted(parameters))}" if parameters else "; it has none"


CacheField = Annotated[
    Cache | Literal["off"] | None,
    PlainValidator(switched(Cache), json_schema_input_type=Cache | Literal["off"] | None),
]
"""What the field `cache` takes."""


def _invalidates(value: object) -> frozenset[str] | Literal["off"] | None:
    if value is None or value == "off":
        return value
    return _tags(value)


InvalidatesField = Annotated[
    AbstractSet[str] | Literal["off"] | None,
    PlainValidator(_invalidates, json_schema_input_type=list[str] | Literal["off"] | None),
]
"""What the field `invalidates` takes: tags, or "off"."""
