"""forecourt: one config says what protects each endpoint, one ordered stack enforces it."""

from forecourt.breakers import Breaker
from forecourt.config import JobConfig
from forecourt.deadlines import Deadline, current_deadline
from forecourt.errors import CircuitOpen, ConfigError, ForecourtError, StoreDown, StoreError, StoreOverloaded
from forecourt.exchange import Exchange
from forecourt.ledger import Ledger
from forecourt.policies import (
    Accounts,
    CircuitBreaker,
    Concurrency,
    Credits,
    Debounce,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    Quota,
    SlidingWindow,
    Throttle,
    Timeout,
    TokenBucket,
)
from forecourt.principals import Principal
from forecourt.responses import Problem
from forecourt.stack import (
    CircuitBreakerMiddleware,
    ConcurrencyMiddleware,
    CreditsMiddleware,
    FloodGuardMiddleware,
    PolicyMiddleware,
    RateLimitMiddleware,
    TimeoutMiddleware,
)

__version__ = "0.1.0"

__all__ = [
    "Accounts",
    "Breaker",
    "CircuitBreaker",
    "CircuitBreakerMiddleware",
    "CircuitOpen",
    "Concurrency",
    "ConcurrencyMiddleware",
    "ConfigError",
    "Credits",
    "CreditsMiddleware",
    "Deadline",
    "Debounce",
    "EndpointPolicy",
    "Exchange",
    "FixedWindow",
    "FloodGuard",
    "FloodGuardMiddleware",
    "ForecourtError",
    "JobConfig",
    "Ledger",
    "PolicyMiddleware",
    "Principal",
    "Problem",
    "Quota",
    "RateLimitMiddleware",
    "SlidingWindow",
    "StoreDown",
    "StoreError",
    "StoreOverloaded",
    "Throttle",
    "Timeout",
    "TimeoutMiddleware",
    "TokenBucket",
    "current_deadline",
]
