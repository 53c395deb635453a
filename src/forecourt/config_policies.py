"""Which policy holds for an endpoint: per field its own name, else a glob, else the default, else off."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Literal, NamedTuple, TypeVar

from forecourt.config_idempotency import nobodys_keys
from forecourt.core.shedding import Priority
from forecourt.errors import ConfigError
from forecourt.policies.adaptive import PRIORITIES, Adaptive
from forecourt.policies.cache import Cache
from forecourt.policies.circuit_breaker import CircuitBreaker
from forecourt.policies.concurrency import Concurrency
from forecourt.policies.credits import Credits
from forecourt.policies.encryption import Encryption
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.idempotency import Idempotency
from forecourt.policies.offload import Offload
from forecourt.policies.rate_limit import RateLimit
from forecourt.policies.retry import Retry
from forecourt.policies.security import Security
from forecourt.policies.telemetry import Logging, Metrics, Tracing
from forecourt.policies.timeout import Timeout
from forecourt.policies.wording import Words, spelt
from forecourt.telemetry.extras import counter, installed

Said = TypeVar("Said")

EndpointProtocol = Literal["http", "websocket", "any"]

DOCS_ROUTES = frozenset({"openapi", "swagger_ui_html", "swagger_ui_redirect", "redoc_html"})
"""FastAPI's own documentation routes: where no one names them they are seen and measured, nothing refused."""

FIELDS = tuple(EndpointPolicy.model_fields)

NO_ONE = "off"
"""The source of a field that no one said anything about."""

WEBSOCKET_COUNTS = frozenset({"connect", "message"})
"""What a limit can count on WebSockets only."""

Observer = TypeVar("Observer", bound=Words)

_WILD = re.compile(r"\[[^\]]*\]|[*?]")


class FieldSource(NamedTuple):
    """What one field of an endpoint's policy is (None is off), and who said so.

    `source` is `endpoint "x"`, `glob "admin:*"`, `default`, or `off` where no one said anything.
    """

    value: object | None
    source: str


@dataclass(frozen=True)
class ResolvedPolicy:
    """What protects one endpoint, field by field.

    `skipped` says, a line each, what a glob or the default asks for and this endpoint cannot have; `metrics_to` what
    the config counts with.
    """

    endpoint: str
    fields: Mapping[str, FieldSource]
    skipped: tuple[str, ...] = ()
    metrics_to: str = "prometheus"

    @property
    def rate_limit(self) -> tuple[RateLimit, ...]:
        """The limits, all of which must let a call pass; empty when off."""
        return limits(self.fields["rate_limit"].value)

    @property
    def security(self) -> Security | None:
        """Who may call; None when off."""
        return self._said("security", Security)

    @property
    def concurrency(self) -> Concurrency | None:
        """How many calls may be at work at once; None when off."""
        return self._said("concurrency", Concurrency)

    @property
    def adaptive(self) -> Adaptive | None:
        """How calls are shed by how long they take; None when they are not."""
        return self._said("concurrency", Adaptive)

    @property
    def priority(self) -> Priority:
        """Who is shed first; normal where no one says anything."""
        said = self.said("priority")
        return next((each for each in PRIORITIES if each == said), "normal")

    @property
    def idempotency(self) -> Idempotency | None:
        """How a call with a key is carried out once; None when off."""
        return self._said("idempotency", Idempotency)

    @property
    def credits(self) -> Credits | None:
        """What a call costs; None when off."""
        return self._said("credits", Credits)

    @property
    def offload(self) -> Offload | None:
        """How a call becomes a job; None when off."""
        return self._said("offload", Offload)

    @property
    def encryption(self) -> Encryption | None:
        """What of it is sealed; None when off."""
        return self._said("encryption", Encryption)

    @property
    def tracing(self) -> Tracing | None:
        """How it is traced; None when off. Where no one says anything it is on if its extra is installed."""
        return observer("tracing", self.fields["tracing"], Tracing)

    @property
    def metrics(self) -> Metrics | None:
        """How it is counted; None when off. Where no one says anything it is on if its extra is installed."""
        return observer(counter("metrics", self.metrics_to), self.fields["metrics"], Metrics)

    @property
    def logging(self) -> Logging | None:
        """How it is logged; None when off. Where no one says anything it is on if its extra is installed."""
        return observer("logging", self.fields["logging"], Logging)

    @property
    def circuit_breaker(self) -> CircuitBreaker | None:
        """When calls are kept from what has failed; None when off."""
        return self._said("circuit_breaker", CircuitBreaker)

    @property
    def retry(self) -> Retry | None:
        """When a call that failed is tried again; None when off."""
        return self._said("retry", Retry)

    @property
    def timeout(self) -> Timeout | None:
        """How long a call may take; None when off."""
        return self._said("timeout", Timeout)

    @property
    def cache(self) -> Cache | None:
        """Which answers are kept; None when off."""
        return self._said("cache", Cache)

    @property
    def invalidates(self) -> frozenset[str]:
        """The tags that a call makes invalid; empty when off."""
        value = self.fields["invalidates"].value
        return value if isinstance(value, frozenset) else frozenset()

    def said(self, field: str) -> object | None:
        """Return what this field says, as the config has it; None when off."""
        return self.fields[field].value

    def _said(self, field: str, model: type[Said]) -> Said | None:
        value = self.said(field)
        return value if isinstance(value, model) else None


class Glob(NamedTuple):
    """A name with wildcards; the more literal characters it has, the more specific it is."""

    text: str
    pattern: re.Pattern[str]
    literals: int


class Policies:
    """The endpoint policies of a config, ready to be looked up by an endpoint's name."""

    def __init__(
        self,
        endpoints: Mapping[str, EndpointPolicy],
        default: EndpointPolicy | None,
        metrics_to: str = "prometheus",
    ) -> None:
        self.endpoints = {name: policy for name, policy in endpoints.items() if not is_glob(name)}
        self.globs = {_glob(name): policy for name, policy in endpoints.items() if is_glob(name)}
        self.default = default
        self._metrics_to = metrics_to

    def unrouted(self) -> ResolvedPolicy:
        """Return what holds for requests that no route matches: the default observes them, all else is off."""
        off = FieldSource(None, NO_ONE)
        fields = dict.fromkeys(FIELDS, off)
        for field in ("tracing", "metrics", "logging"):
            said = getattr(self.default, field, None)
            fields[field] = off if said is None else _source(said, "default")
        return ResolvedPolicy("", fields, metrics_to=self._metrics_to)

    def name(self, endpoint: str) -> bool:
        """Return whether anything in the config is about this endpoint: its name, a glob or the default."""
        return endpoint in self.endpoints or bool(self._globs(endpoint)) or self.default is not None

    def of(self, name: str, protocol: EndpointProtocol = "any") -> ResolvedPolicy | None:
        """Return what holds for an endpoint, or None when no one names it and there is no default.

        Raises ConfigError when two equally specific globs set the same field of it.
        """
        if not self.name(name) and name not in DOCS_ROUTES:
            return None
        fields = {field: self._source(field, name) for field in FIELDS}
        skipped: tuple[str, ...] = ()
        if protocol == "http":
            fields["rate_limit"], skipped = _without_websocket_counts(fields["rate_limit"])
        if nobodys_keys(fields) and not fields["idempotency"].source.startswith("endpoint"):
            skipped += (f"idempotency of {fields['idempotency'].source}: anonymous callers need a key of their own",)
            fields["idempotency"] = FieldSource(None, fields["idempotency"].source)
        return ResolvedPolicy(name, fields, skipped, self._metrics_to)

    def _globs(self, name: str) -> dict[Glob, EndpointPolicy]:
        return {glob: policy for glob, policy in self.globs.items() if glob.pattern.fullmatch(name)}

    def _source(self, field: str, name: str) -> FieldSource:
        own = getattr(self.endpoints.get(name), field, None)
        if own is not None:
            return _source(own, f'endpoint "{name}"')
        asked = {glob: getattr(policy, field) for glob, policy in self._globs(name).items()}
        saying = {glob: said for glob, said in asked.items() if said is not None}
        if saying:
            glob = _most_specific(list(saying), name, field)
            return _source(saying[glob], f'glob "{glob.text}"')
        fallback = getattr(self.default, field, None)
        return FieldSource(None, NO_ONE) if fallback is None else _source(fallback, "default")


def is_glob(name: str) -> bool:
    """Return whether a name in `endpoints` stands for several endpoints."""
    return any(wild in name for wild in "*?[")


def limits(value: object) -> tuple[RateLimit, ...]:
    """Return the value of a field `rate_limit` as a tuple; empty when it is off or not given."""
    if isinstance(value, RateLimit):
        return (value,)
    return value if isinstance(value, tuple) else ()


def observer(needed: str, said: FieldSource, model: type[Observer]) -> Observer | None:
    """Return what an observer is told to do; where no one says anything it does what it can with what is `needed`."""
    if isinstance(said.value, model):
        return said.value
    return model() if said.source == NO_ONE and installed(needed) else None


def _glob(text: str) -> Glob:
    return Glob(text, re.compile(translate(text)), len(_WILD.sub("", text)))


def _source(said: object, who: str) -> FieldSource:
    return FieldSource(None if said == "off" else said, who)


def _most_specific(globs: Sequence[Glob], name: str, field: str) -> Glob:
    first, *others = sorted(globs, key=lambda glob: -glob.literals)
    if others and others[0].literals == first.literals:
        rivals = " and ".join(spelt(("endpoints", glob.text)) for glob in (first, others[0]))
        raise ConfigError(
            f'{rivals} both set {field} of endpoint "{name}" and are equally specific:'
            f" give {spelt(('endpoints', name, field))} itself, or make one of them longer"
        )
    return first


def _without_websocket_counts(field: FieldSource) -> tuple[FieldSource, tuple[str, ...]]:
    """Split the limits that a plain HTTP endpoint has from others into what it can have, and lines on the rest."""
    asked = limits(field.value)
    kept = tuple(limit for limit in asked if limit.count not in WEBSOCKET_COUNTS)
    if field.source.startswith("endpoint") or len(kept) == len(asked):
        return field, ()
    skipped = tuple(
        f'rate_limit of {field.source}: {limit.type} counts "{limit.count}", which is for WebSockets'
        for limit in asked
        if limit.count in WEBSOCKET_COUNTS
    )
    return FieldSource(kept or None, field.source), skipped
