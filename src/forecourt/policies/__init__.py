"""Every word an operator can write: frozen models, one file per policy."""

from forecourt.policies.concurrency import Concurrency
from forecourt.policies.credits import Accounts, Credits, Quota
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.flood_guard import FloodGuard
from forecourt.policies.rate_limit import RateLimit, local_operation
from forecourt.policies.strategies import Debounce, FixedWindow, SlidingWindow, Throttle, TokenBucket
from forecourt.policies.telemetry import Logging, Metrics, Telemetry, Tracing

__all__ = [
    "Accounts",
    "Concurrency",
    "Credits",
    "Debounce",
    "EndpointPolicy",
    "FixedWindow",
    "FloodGuard",
    "Logging",
    "Metrics",
    "Quota",
    "RateLimit",
    "SlidingWindow",
    "Telemetry",
    "Throttle",
    "TokenBucket",
    "Tracing",
    "local_operation",
]
