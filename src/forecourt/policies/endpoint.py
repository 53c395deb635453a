"""All policies of one endpoint. Adding one is a model in a file of its own, and a line here."""

from typing import ClassVar

from forecourt.policies.concurrency import ConcurrencyField
from forecourt.policies.credits import CreditsField
from forecourt.policies.offload import OffloadField
from forecourt.policies.rate_limit import RateLimits
from forecourt.policies.wording import Words


class EndpointPolicy(Words):
    """What protects one endpoint.

    A field that is not given is decided by a glob that matches the endpoint, else by the config's `default`;
    `"off"` switches it off.
    """

    rate_limit: RateLimits = None
    concurrency: ConcurrencyField = None
    credits: CreditsField = None
    offload: OffloadField = None

    file_words: ClassVar[frozenset[str]] = frozenset({"preset"})
    later: ClassVar[frozenset[str]] = frozenset(
        {
            "cache",
            "circuit_breaker",
            "encryption",
            "idempotency",
            "invalidates",
            "logging",
            "max_body",
            "metrics",
            "priority",
            "retry",
            "security",
            "timeout",
            "tracing",
        }
    )
