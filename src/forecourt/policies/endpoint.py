"""All policies of one endpoint. Adding one is a model in a file of its own, and a line here."""

from typing import ClassVar

from forecourt.policies.cache import CacheField, InvalidatesField
from forecourt.policies.circuit_breaker import CircuitBreakerField
from forecourt.policies.concurrency import ConcurrencyField
from forecourt.policies.credits import CreditsField
from forecourt.policies.idempotency import IdempotencyField
from forecourt.policies.offload import OffloadField
from forecourt.policies.rate_limit import RateLimits
from forecourt.policies.retry import RetryField
from forecourt.policies.security import SecurityField
from forecourt.policies.telemetry import LoggingField, MetricsField, TracingField
from forecourt.policies.timeout import TimeoutField
from forecourt.policies.wording import Words


class EndpointPolicy(Words):
    """What protects one endpoint.

    A field that is not given is decided by a glob that matches the endpoint, else by the config's `default`;
    `"off"` switches it off.
    """

    security: SecurityField = None
    rate_limit: RateLimits = None
    concurrency: ConcurrencyField = None
    idempotency: IdempotencyField = None
    credits: CreditsField = None
    cache: CacheField = None
    invalidates: InvalidatesField = None
    circuit_breaker: CircuitBreakerField = None
    timeout: TimeoutField = None
    retry: RetryField = None
    offload: OffloadField = None
    tracing: TracingField = None
    metrics: MetricsField = None
    logging: LoggingField = None

    file_words: ClassVar[frozenset[str]] = frozenset({"preset"})
    later: ClassVar[frozenset[str]] = frozenset(
        {
            "encryption",
            "max_body",
            "priority",
        }
    )
