"""All policies of one endpoint. Adding one is a model in a file of its own, and a line here."""

from typing import ClassVar

from forecourt.policies.circuit_breaker import CircuitBreakerField
from forecourt.policies.concurrency import ConcurrencyField
from forecourt.policies.credits import CreditsField
from forecourt.policies.rate_limit import RateLimits
from forecourt.policies.timeout import TimeoutField
from forecourt.policies.wording import Words


class EndpointPolicy(Words):
    """What protects one endpoint.

    A field that is not given is decided by a glob that matches the endpoint, else by the config's `default`;
    `"off"` switches it off.
    """

    rate_limit: RateLimits = None
    concurrency: ConcurrencyField = None
    credits: CreditsField = None
    circuit_breaker: CircuitBreakerField = None
    timeout: TimeoutField = None

    file_words: ClassVar[frozenset[str]] = frozenset({"preset"})
    later: ClassVar[frozenset[str]] = frozenset(
        {
            "cache",
            "encryption",
            "idempotency",
            "invalidates",
            "logging",
            "max_body",
            "metrics",
            "offload",
            "priority",
            "retry",
            "security",
            "tracing",
        }
    )
