"""forecourt: one config says what protects each endpoint, one ordered stack enforces it."""

from forecourt.config import JobConfig
from forecourt.errors import ConfigError, ForecourtError, StoreDown, StoreError, StoreOverloaded
from forecourt.exchange import Exchange
from forecourt.policies import (
    Debounce,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    SlidingWindow,
    Throttle,
    TokenBucket,
)
from forecourt.principals import Principal
from forecourt.responses import Problem
from forecourt.stack import FloodGuardMiddleware, PolicyMiddleware, RateLimitMiddleware

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Debounce",
    "EndpointPolicy",
    "Exchange",
    "FixedWindow",
    "FloodGuard",
    "FloodGuardMiddleware",
    "ForecourtError",
    "JobConfig",
    "PolicyMiddleware",
    "Principal",
    "Problem",
    "RateLimitMiddleware",
    "SlidingWindow",
    "StoreDown",
    "StoreError",
    "StoreOverloaded",
    "Throttle",
    "TokenBucket",
]
