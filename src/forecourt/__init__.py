"""forecourt: one config says what protects each endpoint, one ordered stack enforces it."""

from forecourt.config import JobConfig
from forecourt.decisions import Decision
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
    Logging,
    Metrics,
    Quota,
    SlidingWindow,
    Telemetry,
    Throttle,
    TokenBucket,
    Tracing,
)
from forecourt.principals import Principal
from forecourt.responses import Problem
from forecourt.stack import (
    ConcurrencyMiddleware,
    CreditsMiddleware,
    FloodGuardMiddleware,
    LoggingMiddleware,
    MetricsMiddleware,
    PolicyMiddleware,
    RateLimitMiddleware,
    TracingMiddleware,
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
    "Decision",
    "EndpointPolicy",
    "Exchange",
    "FixedWindow",
    "FloodGuard",
    "FloodGuardMiddleware",
    "ForecourtError",
    "JobConfig",
    "Ledger",
    "Logging",
    "LoggingMiddleware",
    "Metrics",
    "MetricsMiddleware",
    "PolicyMiddleware",
    "Principal",
    "Problem",
    "Quota",
    "RateLimitMiddleware",
    "SlidingWindow",
    "StoreDown",
    "StoreError",
    "StoreOverloaded",
    "Telemetry",
    "Throttle",
    "TokenBucket",
    "Tracing",
    "TracingMiddleware",
]
