"""Every word an operator can write: frozen models, one file per policy."""

from forecourt.policies.circuit_breaker import CircuitBreaker
from forecourt.policies.concurrency import Concurrency
from forecourt.policies.credits import Accounts, Credits, Quota
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.flood_guard import FloodGuard
from forecourt.policies.rate_limit import RateLimit, local_operation
from forecourt.policies.strategies import Debounce, FixedWindow, SlidingWindow, Throttle, TokenBucket
from forecourt.policies.timeout import Timeout

__all__ = [
    "Accounts",
    "CircuitBreaker",
    "Concurrency",
    "Credits",
    "Debounce",
    "EndpointPolicy",
    "FixedWindow",
    "FloodGuard",
    "Quota",
    "RateLimit",
    "SlidingWindow",
    "Throttle",
    "Timeout",
    "TokenBucket",
    "local_operation",
]
