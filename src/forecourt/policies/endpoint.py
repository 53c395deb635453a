"""All policies of one endpoint. Adding one is a model in a file of its own, and a line here."""

from typing import ClassVar

from forecourt.policies.adaptive import PriorityField
from forecourt.policies.audit import AuditField
from forecourt.policies.cache import CacheField, InvalidatesField
from forecourt.policies.circuit_breaker import CircuitBreakerField
from forecourt.policies.clients import ClientsField
from forecourt.policies.concurrency import ConcurrencyField
from forecourt.policies.content import ContentField
from forecourt.policies.credits import CreditsField
from forecourt.policies.cross_origin import CrossOriginField
from forecourt.policies.deprecation import DeprecationField
from forecourt.policies.encryption import EncryptionField
from forecourt.policies.idempotency import IdempotencyField
from forecourt.policies.maintenance import MaintenanceField
from forecourt.policies.max_body import MaxBodyField
from forecourt.policies.max_headers import MaxHeadersField
from forecourt.policies.offload import OffloadField
from forecourt.policies.rate_limit import RateLimits
from forecourt.policies.retry import RetryField
from forecourt.policies.security import SecurityField
from forecourt.policies.security_headers import HeadersField
from forecourt.policies.telemetry import LoggingField, MetricsField, TracingField
from forecourt.policies.timeout import TimeoutField
from forecourt.policies.webhook import WebhookField
from forecourt.policies.wording import Words


class EndpointPolicy(Words):
    """What protects one endpoint.

    A field that is not given is decided by a glob that matches the endpoint, else by the config's `default`;
    `"off"` switches it off.
    """

    headers: HeadersField = None
    max_headers: MaxHeadersField = None
    clients: ClientsField = None
    cross_origin: CrossOriginField = None
    security: SecurityField = None
    maintenance: MaintenanceField = None
    deprecation: DeprecationField = None
    rate_limit: RateLimits = None
    concurrency: ConcurrencyField = None
    priority: PriorityField = None
    max_body: MaxBodyField = None
    content: ContentField = None
    webhook: WebhookField = None
    audit: AuditField = None
    encryption: EncryptionField = None
    idempotency: IdempotencyField = None
    credits: CreditsField = None
    cache: CacheField = None
    invalidates: InvalidatesField = None
    circuit_breaker: CircuitBreakerField = None
    timeout: TimeoutField = None
    retry: RetryField = None
    offload: OffloadField = None
    tracing: TracingField = None
    metrics: MetricsField = None
    logging: LoggingField = None

    file_words: ClassVar[frozenset[str]] = frozenset({"preset"})
