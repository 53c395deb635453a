"""forecourt: one config says what protects each endpoint, one ordered stack enforces it."""

from forecourt.config import JobConfig
from forecourt.config_cache import CacheHandle
from forecourt.errors import ConfigError, ForecourtError, StoreDown, StoreError, StoreOverloaded
from forecourt.exchange import Exchange
from forecourt.ledger import Ledger
from forecourt.policies import (
    Accounts,
    Cache,
    Concurrency,
    Credits,
    Debounce,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    Idempotency,
    Quota,
    SlidingWindow,
    Throttle,
    TokenBucket,
)
from forecourt.principals import Principal
from forecourt.responses import Problem
from forecourt.stack import (
    CacheMiddleware,
    ConcurrencyMiddleware,
    CreditsMiddleware,
    FloodGuardMiddleware,
    IdempotencyMiddleware,
    PolicyMiddleware,
    RateLimitMiddleware,
)

__version__ = "0.1.0"

__all__ = [
    "Accounts",
    "Cache",
    "CacheHandle",
    "CacheMiddleware",
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
    "Idempotency",
    "IdempotencyMiddleware",
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
    "TokenBucket",
]
