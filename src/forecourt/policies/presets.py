"""Policies to begin with, for the three kinds of endpoint: on a database, on another service, on the processor.

The same words in Python (`db_endpoint(…)`) and in files (`preset = "db"`); whatever is given besides replaces a field
of the preset whole. What each value is for stands beside it. Who may call is said nowhere here: that is the service's.
"""

from collections.abc import Mapping
from types import MappingProxyType

from forecourt.policies.endpoint import EndpointPolicy

MIB = 1024 * 1024

DB: Mapping[str, object] = MappingProxyType(
    {
        # A burst of a page that loads many things, then what a person or a polite program needs.
        "rate_limit": {"type": "token_bucket", "max_tokens": 50, "refill_rate": 25},
        # One caller holds a few connections of the pool, never all of them; who waits briefly is served.
        "concurrency": {"limit": 8, "queue": 8},
        # A query that takes longer is better asked again by its caller than waited for by everybody.
        "timeout": {"seconds": 5},
        # A database that is down is left alone; it is back within seconds, so it is tried soon.
        "circuit_breaker": {"fail_max": 10, "reset_timeout": 5},
        # Records are small.
        "max_body": MIB,
    }
)
"""For an endpoint on a database."""

IO: Mapping[str, object] = MappingProxyType(
    {
        # As much as one caller may cause at a service that is not ours.
        "rate_limit": {"type": "token_bucket", "max_tokens": 20, "refill_rate": 10},
        # All attempts together, and each of them: one that hangs leaves time for another.
        "timeout": {"seconds": 10, "per_attempt": 3},
        # Only methods that may be repeated; a tenth of the traffic at most, so that an outage is not amplified.
        "retry": {"max_attempts": 3, "budget": 0.1},
        # Below retry, as one outcome for all attempts: five calls that failed altogether are an outage.
        "circuit_breaker": {"fail_max": 5, "reset_timeout": 30},
        "max_body": MIB,
    }
)
"""For an endpoint that stands on another service."""

CPU: Mapping[str, object] = MappingProxyType(
    {
        # Bursts are for the queue, a day's work is for the quota.
        "rate_limit": [
            {"type": "token_bucket", "max_tokens": 5, "refill_rate": 1},
            {"type": "fixed_window", "limit": 500, "window": 86_400, "name": "daily"},
        ],
        # A worker runs it; five minutes for each of two attempts.
        "offload": {"timeout": 300, "max_attempts": 2},
        # An image, a document.
        "max_body": 10 * MIB,
    }
)
"""For an endpoint that burns processor time."""

PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType({"db": DB, "io": IO, "cpu": CPU})
"""By the name that files call them."""


def db_endpoint(**fields: object) -> EndpointPolicy:
    """Return the policy of an endpoint on a database; `fields` replace its own. ValidationError for wrong ones."""
    return EndpointPolicy.model_validate({**DB, **fields})


def io_endpoint(**fields: object) -> EndpointPolicy:
    """Return the policy of an endpoint that stands on another service; `fields` replace its own.

    It is retried, so where its method may not be repeated say `retry="off"`.
    """
    return EndpointPolicy.model_validate({**IO, **fields})


def cpu_endpoint(**fields: object) -> EndpointPolicy:
    """Return the policy of an endpoint that burns processor time, run by a worker; `fields` replace its own."""
    return EndpointPolicy.model_validate({**CPU, **fields})
