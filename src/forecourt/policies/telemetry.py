"""What is traced, counted and logged: of one endpoint, and how for all of them."""

import itertools
import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from forecourt.policies.quantities import exact
from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, refused

Model = TypeVar("Model", bound=Words)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration histogram in seconds, unless `Telemetry.buckets` says otherwise."""

_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,30}")
_FIELD = re.compile(r"[A-Za-z0-9-]{1,64}")


def _fraction(value: object) -> float:
    if type(value) is bool or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise refused(value, "must be a number from 0 to 1")
    return value


def _header(value: str) -> str:
    if not _FIELD.fullmatch(value):
        raise refused(value, "must be the name of a header, such as X-Request-ID")
    return value


def _prefix(value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise refused(value, "must be a small letter, then up to 30 small letters, digits or _")
    return value


def _rising(bounds: Sequence[float]) -> Sequence[float]:
    if not bounds or any(exact(high) <= exact(low) for low, high in itertools.pairwise((0, *bounds))):
        raise refused(bounds, "must be numbers of seconds above 0, each greater than the one before")
    return bounds


def _list(value: object) -> object:
    """Take a lone text as a list of one."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | set | frozenset) else value


HeaderName = Annotated[str, AfterValidator(_header)]
Names = Annotated[Sequence[HeaderName], BeforeValidator(_list)]


class Tracing(Words):
    """The spans of an endpoint; `handler`: its handler has one of its own, inside the server's."""

    handler: bool = True


class Metrics(Words):
    """That an endpoint is counted; `sizes`: the bytes of its bodies too."""

    sizes: bool = True


class Logging(Words):
    """The access log of an endpoint: `sample` of its successes, from 0 to 1 (all else is always logged).

    `headers`: request headers to log beside; those known to carry secrets are logged as [redacted].
    """

    sample: Annotated[float, PlainValidator(_fraction, json_schema_input_type=float)] = 1
    headers: Names = ()


class Telemetry(Words):
    """How all endpoints of a config are traced, counted and logged.

    `metrics_to`: `prometheus`, which scrapes, or the meter of `opentelemetry`, which the SDK reads and exports.
    `buckets`: of the duration histogram, in seconds. `prefix`: how all metrics begin. `exemplars`: durations carry
    their trace's id. `request_id_header`: taken from the caller where it is well formed, else made, and sent back.
    `log_format`: `json`, `console`, or by whether a terminal reads (`auto`). `log_to`: `stderr`, `stdout` or a file's
    path. `principals`: callers in logs `hashed`, `plain` or `off`. `exception_messages`: log and record what
    exceptions say, not only their types and places. `message_spans`: a span for each ASGI message, as OpenTelemetry's
    middleware has by default.
    """

    metrics_to: Literal["prometheus", "opentelemetry"] = "prometheus"
    buckets: Annotated[Sequence[float], BeforeValidator(_list), AfterValidator(_rising)] = BUCKETS
    prefix: Annotated[str, AfterValidator(_prefix)] = "forecourt"
    exemplars: bool = True
    request_id_header: HeaderName = "X-Request-ID"
    log_format: Literal["auto", "json", "console"] = "auto"
    log_to: Annotated[str, Field(min_length=1)] = "stderr"
    principals: Literal["hashed", "plain", "off"] = "hashed"
    exception_messages: bool = False
    message_spans: bool = False


def _field(model: type[Model]) -> PlainValidator:
    """Return the validator of a field that takes this model, its table, True, "off", or nothing."""
    switch = switched(model)
    return PlainValidator(
        lambda value: model() if value is True else switch(value),
        json_schema_input_type=model | bool | Literal["off"] | None,
    )


TracingField = Annotated[Tracing | Literal["off"] | None, _field(Tracing)]
MetricsField = Annotated[Metrics | Literal["off"] | None, _field(Metrics)]
LoggingField = Annotated[Logging | Literal["off"] | None, _field(Logging)]
"""What the fields `tracing`, `metrics` and `logging` take; not given, they are on where their extra is installed."""
