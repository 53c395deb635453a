"""forecourt: one config says what protects each endpoint, one ordered stack enforces it."""

from forecourt.auth.credentials import Authenticator, Denied, User
from forecourt.breakers import Breaker
from forecourt.config import JobConfig
from forecourt.config_cache import CacheHandle
from forecourt.deadlines import Deadline, current_deadline
from forecourt.errors import CircuitOpen, ConfigError, ForecourtError, StoreDown, StoreError, StoreOverloaded
from forecourt.exchange import Exchange
from forecourt.ledger import Ledger
from forecourt.middleware import (
    CacheMiddleware,
    CircuitBreakerMiddleware,
    ConcurrencyMiddleware,
    CreditsMiddleware,
    FloodGuardMiddleware,
    IdempotencyMiddleware,
    PolicyMiddleware,
    RateLimitMiddleware,
    RetryMiddleware,
    SecurityMiddleware,
    TimeoutMiddleware,
)
from forecourt.policies import (
    Accounts,
    ApiKey,
    ApiKeys,
    Cache,
    CircuitBreaker,
    Concurrency,
    Credits,
    Debounce,
    Dpop,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    Idempotency,
    Introspection,
    Issuer,
    Quota,
    Retry,
    Security,
    SlidingWindow,
    Throttle,
    Timeout,
    TokenBucket,
    TokenCache,
    Upstream,
)
from forecourt.principals import Principal
from forecourt.responses import Problem
from forecourt.revocations import Revocations

__version__ = "0.1.0"

__all__ = [
    "Accounts",
    "ApiKey",
    "ApiKeys",
    "Authenticator",
    "Breaker",
    "Cache",
    "CacheHandle",
    "CacheMiddleware",
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
    "Denied",
    "Dpop",
    "EndpointPolicy",
    "Exchange",
    "FixedWindow",
    "FloodGuard",
    "FloodGuardMiddleware",
    "ForecourtError",
    "Idempotency",
    "IdempotencyMiddleware",
    "Introspection",
    "Issuer",
    "JobConfig",
    "Ledger",
    "PolicyMiddleware",
    "Principal",
    "Problem",
    "Quota",
    "RateLimitMiddleware",
    "Retry",
    "RetryMiddleware",
    "Revocations",
    "Security",
    "SecurityMiddleware",
    "SlidingWindow",
    "StoreDown",
    "StoreError",
    "StoreOverloaded",
    "Throttle",
    "Timeout",
    "TimeoutMiddleware",
    "TokenBucket",
    "TokenCache",
    "Upstream",
    "User",
    "current_deadline",
]
