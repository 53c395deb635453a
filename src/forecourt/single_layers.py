"""Each layer as a middleware of its own: the stack with that layer alone, wherever an app installs it."""

from forecourt.middleware import PolicyMiddleware
from forecourt.stack import OFFLOAD


class SecurityMiddleware(PolicyMiddleware):
    """The stack with authentication and permissions alone."""

    installs = ("security",)


class RateLimitMiddleware(PolicyMiddleware):
    """The stack with the rate limits alone."""

    installs = ("rate_limit",)


class ConcurrencyMiddleware(PolicyMiddleware):
    """The stack with the concurrency limits alone."""

    installs = ("concurrency",)


class IdempotencyMiddleware(PolicyMiddleware):
    """The stack with idempotency alone."""

    installs = ("idempotency",)


class CreditsMiddleware(PolicyMiddleware):
    """The stack with the credits alone."""

    installs = ("credits",)


class CacheMiddleware(PolicyMiddleware):
    """The stack with the cache alone, and what invalidates it."""

    installs = ("invalidates", "cache")


class CircuitBreakerMiddleware(PolicyMiddleware):
    """The stack with the circuit breakers alone."""

    installs = ("circuit_breaker",)


class RetryMiddleware(PolicyMiddleware):
    """The stack with the retries alone."""

    installs = ("retry",)


class TimeoutMiddleware(PolicyMiddleware):
    """The stack with the timeouts alone."""

    installs = ("timeout",)


class OffloadMiddleware(PolicyMiddleware):
    """The stack with offloading alone."""

    installs = (OFFLOAD,)


class TracingMiddleware(PolicyMiddleware):
    """The stack with the spans alone."""

    installs = ("tracing",)


class MetricsMiddleware(PolicyMiddleware):
    """The stack with the metrics alone."""

    installs = ("metrics",)


class LoggingMiddleware(PolicyMiddleware):
    """The stack with the access log alone."""

    installs = ("logging",)


class FloodGuardMiddleware(PolicyMiddleware):
    """The stack with the flood guard alone."""

    installs = ("flood_guard",)


class ContentMiddleware(PolicyMiddleware):
    """The stack with the media types alone."""

    installs = ("content",)


class MaxBodyMiddleware(PolicyMiddleware):
    """The stack with the largest body alone."""

    installs = ("max_body",)


class MaintenanceMiddleware(PolicyMiddleware):
    """The stack with the maintenance alone."""

    installs = ("maintenance",)


class EncryptionMiddleware(PolicyMiddleware):
    """The stack with contents that are sealed from end to end alone."""

    installs = ("encryption",)


class DeprecationMiddleware(PolicyMiddleware):
    """The stack with the deprecations alone."""

    installs = ("deprecation",)


class CrossOriginMiddleware(PolicyMiddleware):
    """The stack with the cross-origin protection alone."""

    installs = ("cross_origin",)


class ClientsMiddleware(PolicyMiddleware):
    """The stack with the networks of clients alone."""

    installs = ("clients",)


class MaxHeadersMiddleware(PolicyMiddleware):
    """The stack with the largest header alone."""

    installs = ("max_headers",)


class SecurityHeadersMiddleware(PolicyMiddleware):
    """The stack with the security headers alone."""

    installs = ("headers",)


class AuditMiddleware(PolicyMiddleware):
    """The stack with the audit trail alone."""

    installs = ("audit",)


class WebhookMiddleware(PolicyMiddleware):
    """The stack with the signatures of webhooks alone."""

    installs = ("webhook",)
