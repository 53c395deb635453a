"""Every word an operator can write: frozen models, one file per policy."""

from forecourt.policies.concurrency import Concurrency
from forecourt.policies.credits import Accounts, Credits, Quota
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.flood_guard import FloodGuard
from forecourt.policies.offload import Offload
from forecourt.policies.rate_limit import RateLimit, local_operation
from forecourt.policies.strategies import Debounce, FixedWindow, SlidingWindow, Throttle, TokenBucket

__all__ = [
    "Accounts",
    "Concurrency",
    "Credits",
    "Debounce",
    "EndpointPolicy",
    "FixedWindow",
    "FloodGuard",
    "Offload",
    "Quota",
    "RateLimit",
    "SlidingWindow",
    "Throttle",
    "TokenBucket",
    "local_operation",
]
