"""forecourt: one config says what protects each endpoint, one ordered stack enforces it."""

from forecourt.config import JobConfig
from forecourt.errors import ConfigError, ForecourtError, StoreDown, StoreError, StoreOverloaded
from forecourt.exchange import Exchange
from forecourt.ledger import Ledger
from forecourt.policies import (
    Accounts,
    Concurrency,
    Credits,
    Debounce,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    Offload,
    Quota,
    SlidingWindow,
    Throttle,
    TokenBucket,
)
from forecourt.principals import Principal
from forecourt.responses import Problem
from forecourt.stack import (
    ConcurrencyMiddleware,
    CreditsMiddleware,
    FloodGuardMiddleware,
    OffloadMiddleware,
    PolicyMiddleware,
    RateLimitMiddleware,
)

__version__ = "0.1.0"

__all__ = [
    "Accounts",
    "Concurrency",
    "ConcurrencyMiddleware",
    "ConfigError",
    "Credits",
    "CreditsMiddleware",
    "Debounce",
    "EndpointPolicy",
    "Exchange",
    "FixedWindow",
    "FloodGuard",
    "FloodGuardMiddleware",
    "ForecourtError",
    "JobConfig",
    "Ledger",
    "Offload",
    "OffloadMiddleware",
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
    "TokenBucket",
]
