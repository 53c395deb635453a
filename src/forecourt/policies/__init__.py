"""Every word an operator can write: frozen models, one file per policy."""

from forecourt.policies.cache import Cache
from forecourt.policies.concurrency import Concurrency
from forecourt.policies.credits import Accounts, Credits, Quota
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.flood_guard import FloodGuard
from forecourt.policies.idempotency import Idempotency
from forecourt.policies.rate_limit import RateLimit, local_operation
from forecourt.policies.strategies import Debounce, FixedWindow, SlidingWindow, Throttle, TokenBucket

__all__ = [
    "Accounts",
    "Cache",
    "Concurrency",
    "Credits",
    "Debounce",
    "EndpointPolicy",
    "FixedWindow",
    "FloodGuard",
    "Idempotency",
    "Quota",
    "RateLimit",
    "SlidingWindow",
    "Throttle",
    "TokenBucket",
    "local_operation",
]
