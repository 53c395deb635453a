"""Every word an operator can write: frozen models, one file per policy."""

from forecourt.policies.adaptive import Adaptive
from forecourt.policies.api_keys import ApiKey, ApiKeys
from forecourt.policies.audit import Audit
from forecourt.policies.cache import Cache
from forecourt.policies.circuit_breaker import CircuitBreaker
from forecourt.policies.clients import ClientNetworks
from forecourt.policies.concurrency import Concurrency
from forecourt.policies.content import Content
from forecourt.policies.credits import Accounts, Credits, Quota
from forecourt.policies.cross_origin import CrossOrigin
from forecourt.policies.database import Database
from forecourt.policies.deprecation import Brownout, Deprecation
from forecourt.policies.encryption import Encryption
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.flood_guard import FloodGuard
from forecourt.policies.health import HealthChecks
from forecourt.policies.idempotency import Idempotency
from forecourt.policies.issuer import Dpop, Introspection, Issuer, TokenCache
from forecourt.policies.keys import KeyProvider
from forecourt.policies.maintenance import Maintenance
from forecourt.policies.max_body import MaxBody
from forecourt.policies.offload import Offload
from forecourt.policies.payload_keys import PayloadKeys
from forecourt.policies.presets import cpu_endpoint, db_endpoint, io_endpoint
from forecourt.policies.rate_limit import RateLimit, local_operation
from forecourt.policies.retry import Retry
from forecourt.policies.security import Security
from forecourt.policies.security_headers import SecurityHeaders
from forecourt.policies.strategies import Debounce, FixedWindow, SlidingWindow, Throttle, TokenBucket
from forecourt.policies.telemetry import Logging, Metrics, Telemetry, Tracing
from forecourt.policies.timeout import Timeout
from forecourt.policies.upstream import Upstream
from forecourt.policies.webhook import Webhook
from forecourt.policies.webhooks import Webhooks

__all__ = [
    "Accounts",
    "Adaptive",
    "ApiKey",
    "ApiKeys",
    "Audit",
    "Brownout",
    "Cache",
    "CircuitBreaker",
    "ClientNetworks",
    "Concurrency",
    "Content",
    "Credits",
    "CrossOrigin",
    "Database",
    "Debounce",
    "Deprecation",
    "Dpop",
    "Encryption",
    "EndpointPolicy",
    "FixedWindow",
    "FloodGuard",
    "HealthChecks",
    "Idempotency",
    "Introspection",
    "Issuer",
    "KeyProvider",
    "Logging",
    "Maintenance",
    "MaxBody",
    "Metrics",
    "Offload",
    "PayloadKeys",
    "Quota",
    "RateLimit",
    "Retry",
    "Security",
    "SecurityHeaders",
    "SlidingWindow",
    "Telemetry",
    "Throttle",
    "Timeout",
    "TokenBucket",
    "TokenCache",
    "Tracing",
    "Upstream",
    "Webhook",
    "Webhooks",
    "cpu_endpoint",
    "db_endpoint",
    "io_endpoint",
    "local_operation",
]
