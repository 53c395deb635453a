"""JobConfig: the registry of endpoint policies, and what holds for all of them.

What Python says wins over the environment, the environment over the file; each field is taken whole from the
first that gives it. In the environment a field is FORECOURT_ and its name in capitals: text and numbers as
they are, a list of text as JSON or with commas, all else as JSON. A file is read by
`JobConfig.from_file(path)`, or by `JobConfig()` without arguments where FORECOURT_CONFIG names one.

Whatever is wrong is one ConfigError with a line for each mistake.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from forecourt.breakers import Breaker, Breakers
from forecourt.config_addresses import proxies, redacted, store_address
from forecourt.config_audit import audit_sink, unsigned
from forecourt.config_breakers import breakers_of
from forecourt.config_cache import CacheHandle
from forecourt.config_check import EndpointLike, misfits
from forecourt.config_console import ConsoleApp, console_misfits
from forecourt.config_credentials import Authenticators, Issuers, metadata_address, uncredited
from forecourt.config_databases import Databases, Statements
from forecourt.config_encryption import keyless, keyring_of, unsealable
from forecourt.config_file import Document, read, read_document
from forecourt.config_health import HealthApp
from forecourt.config_idempotency import unknown_databases
from forecourt.config_jobs import JobsApp, QueueAddress, job_misfits, queue_addresses, shown_addresses
from forecourt.config_limits import disagreements
from forecourt.config_live import LIVE, Origin, stamp
from forecourt.config_maintenance import MaintenanceSwitch
from forecourt.config_networks import unknown_groups
from forecourt.config_outside import Outside, environment
from forecourt.config_overrides import Overridden
from forecourt.config_policies import EndpointProtocol, FieldSource, Policies, ResolvedPolicy
from forecourt.config_values import (
    DecisionHook,
    KeyFunction,
    frozen,
    functions_by_name,
    hook,
    key_function,
    key_namespace,
    prefix,
    route,
    upstream_name,
)
from forecourt.errors import ConfigError
from forecourt.payload.keys import Keyring
from forecourt.policies.api_keys import ApiKeys
from forecourt.policies.circuit_breaker import CircuitBreaker
from forecourt.policies.clients import NetworkGroups
from forecourt.policies.credits import Accounts
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.flood_guard import FloodGuard
from forecourt.policies.health import HealthChecks
from forecourt.policies.issuer import Dpop, Introspection, TokenCache
from forecourt.policies.keys import KeyProvider, KeyRing, key_ring
from forecourt.policies.payload_keys import PayloadKeys
from forecourt.policies.quantities import Count
from forecourt.policies.telemetry import Telemetry
from forecourt.policies.texts import WebAddress
from forecourt.policies.upstream import Upstream
from forecourt.policies.webhooks import Webhooks
from forecourt.policies.wording import problems, restated
from forecourt.telemetry.exposition import MetricsEndpoint
from forecourt.types import ASGIApp
from forecourt.upstreams import Upstreams

if TYPE_CHECKING:
    from forecourt.upstream_transport import Client

__all__ = ["EndpointLike", "EndpointProtocol", "FieldSource", "JobConfig", "KeyFunction", "ResolvedPolicy"]

LATER: frozenset[str] = frozenset()
"""Fields that the design names and this version does not have."""


class JobConfig(BaseSettings):
    """What protects each endpoint; see the module for where its fields come from.

    `endpoints`: policies by endpoint name or glob. `default`: for endpoints and fields that none of them names.
    `store`: where state lives; `cache_store`: where kept answers do, if elsewhere; `cache_memory`: bytes of them that a
    process keeps. `trusted_proxies`: addresses and networks whose forwarded headers count, "unix" for a
    peer without an address. `routes`: names for routes, `{"v2_get": "GET /v2/records/{id}"}`. `key_functions`: more
    words for the `key` of a limit. `flood_guard`: a limit per client address before all else. `networks`: groups of
    client addresses, by name. `accounts`: what
    callers are given to pay credits with. `namespace`: how all keys in the store begin. `limit_overrides`: operators
    may change limits for a while. `limit_headers`: the fields that tell callers their limits. `ipv6_prefix`: callers of
    one such network are one client.
    `health_checks`: what `health` asks, and whom it tells. `telemetry`: how spans, metrics and logs are made.
    `on_decision`: a function told (exchange, decision) of each
    layer's decision.
    `issuers`, `api_keys`, `introspection`, `authenticators`: whose credentials are believed. `dpop`: proofs of
    possession are accepted. `revocation`: each call asks the store whether its token was revoked. `token_cache`: how
    many verified tokens a process remembers. `realm`: what challenges call the service. `tell_scopes`: a 403 names the
    scopes that the endpoint asks for. `resource`: the service's own address, of RFC 9728.
    `queues`: where jobs wait, addresses by name. `keys`: secrets that seal records and sign jobs, audit records and
    nonces, `["env:NAME"]`, or a function that returns them; the first seals and signs, all open and verify.
    `payload_keys`: the service's own keys and its callers', for contents that are sealed from end to end.
    `audit_log`: the file, or in Python the sink, of the audit trail.
    `webhooks`: how callers are told of their jobs' ends. `upstreams`, `databases`: servers and databases that handlers
    use, by name.

    Frozen, and equal only to itself. Raises ConfigError.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoints: Annotated[Mapping[str, EndpointPolicy], AfterValidator(frozen)] = Field(default_factory=dict)
    default: EndpointPolicy | None = None
    store: Annotated[str, PlainValidator(store_address)] = "memory://"
    cache_store: Annotated[str | None, PlainValidator(lambda url: None if url is None else store_address(url))] = None
    cache_memory: Count = 64 * 1024 * 1024
    trusted_proxies: Annotated[Sequence[str], PlainValidator(proxies)] = ()
    routes: Annotated[Mapping[str, Annotated[str, AfterValidator(route)]], AfterValidator(frozen)] = Field(
        default_factory=dict
    )
    key_functions: Annotated[
        Mapping[str, Annotated[KeyFunction, PlainValidator(key_function)]], AfterValidator(functions_by_name)
    ] = Field(default_factory=dict)
    flood_guard: FloodGuard | None = None
    networks: NetworkGroups = Field(default_factory=dict)
    accounts: Accounts = Field(default_factory=Accounts)
    namespace: Annotated[str, PlainValidator(key_namespace)] = "fc"
    limit_headers: Literal["draft-11", "legacy", "both", "none"] = "draft-11"
    ipv6_prefix: Annotated[Count, AfterValidator(prefix)] = 64
    limit_overrides: bool = False
    health_checks: HealthChecks = Field(default_factory=HealthChecks)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    on_decision: Annotated[DecisionHook | None, PlainValidator(hook)] = None
    issuers: Issuers = ()
    api_keys: ApiKeys | None = None
    introspection: Introspection | None = None
    authenticators: Authenticators = Field(default_factory=dict)
    dpop: Dpop | None = None
    revocation: bool = False
    token_cache: TokenCache = Field(default_factory=TokenCache)
    realm: Annotated[str, Field(pattern=r"^[ !#-\[\]-~]{1,64}$")] = "api"
    tell_scopes: bool = True
    resource: WebAddress | None = None
    upstreams: Annotated[Mapping[Annotated[str, AfterValidator(upstream_name)], Upstream], AfterValidator(frozen)] = (
        Field(default_factory=dict)
    )

    databases: Annotated[Databases, AfterValidator(frozen)] = Field(default_factory=dict)
    queues: Annotated[Mapping[str, QueueAddress], PlainValidator(queue_addresses), AfterValidator(frozen)] = Field(
        default_factory=dict
    )
    audit_log: Annotated[object, PlainValidator(audit_sink)] = None
    keys: Annotated[Sequence[str | bytes] | KeyRing | KeyProvider | None, PlainValidator(key_ring)] = None
    webhooks: Webhooks | None = None
    payload_keys: PayloadKeys | None = None

    _policies: Policies = PrivateAttr()
    _keyring: Keyring | None = PrivateAttr()
    _health: HealthApp = PrivateAttr(default_factory=HealthApp)
    _jobs: JobsApp = PrivateAttr(default_factory=JobsApp)
    _metrics: MetricsEndpoint = PrivateAttr(default_factory=MetricsEndpoint)
    _origin: Origin | None = PrivateAttr(default=None)
    _overridden: Overridden = PrivateAttr(default_factory=Overridden)
    _maintenance: MaintenanceSwitch = PrivateAttr(default_factory=MaintenanceSwitch)
    _cache: CacheHandle = PrivateAttr(default_factory=CacheHandle)
    _breakers: Breakers = PrivateAttr()
    _console: ConsoleApp = PrivateAttr(default_factory=ConsoleApp)
    _outgoing: Upstreams = PrivateAttr()
    _statements: Statements = PrivateAttr(default_factory=Statements)

    def __hash__(self) -> int:
        """Only the same config hashes alike."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Only the same config is equal."""
        return self is other

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Show the fields, addresses without their passwords."""
        for name, value in super().__repr_args__():
            if name == "queues":
                yield name, shown_addresses(self.queues)
            else:
                yield name, redacted(str(value)) if name in ("store", "cache_store") and value else value

    @property
    def cache(self) -> CacheHandle:
        """The cache, for code: `await config.cache.invalidate(tags)`."""
        return self._cache

    @property
    def overridden(self) -> Overridden:
        """The limits that operators have changed for a while, as this process knows them."""
        return self._overridden

    @property
    def maintenance(self) -> MaintenanceSwitch:
        """What operators take out of service, for code: `await config.maintenance.on("reports.*")`."""
        return self._maintenance

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **python: object) -> Self:
        """Read a config from a .toml, .yaml, .yml or .json file; `python` holds fields that win over it."""
        place = Path(path)
        origin = Origin(place, stamp(place), python)
        config = cls._over(read(place), python)
        config._origin = origin
        return config

    def reread(self, document: Document | None = None) -> Self:
        """Read the file that this config is from once more, or a document in its place; another config.

        Python and the environment win over it as before. ConfigError where this was made in Python.
        """
        if self._origin is None:
            raise ConfigError("this config was made in Python, so there is no file to read")
        path = self._origin.path
        return type(self)._over(read_document(document, path.parent) if document else read(path), self._origin.python)

    @classmethod
    def _over(cls, fields: Mapping[str, object], python: Mapping[str, object]) -> Self:
        return cls.model_validate({"endpoints": {}, **fields, **environment(cls.model_fields), **python})

    @property
    def origin(self) -> Origin | None:
        """The file that this was read from; None where it was made in Python."""
        return self._origin

    def adopt(self, new: "JobConfig") -> Callable[[], None]:
        """Say what another config says, in the fields that may change while the service runs; return what undoes it."""
        fields = {name: getattr(self, name) for name in LIVE}
        policies = self._policies
        undo_breakers = self._breakers.adopt(new._breakers, self._said_of_breakers(new))

        def undo() -> None:
            self.__dict__.update(fields)
            self._policies = policies
            undo_breakers()

        self.__dict__.update({name: getattr(new, name) for name in LIVE})  # frozen for all others
        self._policies = new._policies
        return undo

    def _said_of_breakers(self, new: "JobConfig") -> frozenset[str]:
        """Return the names of the breakers of endpoints of which another config says something else."""
        return frozenset(
            breaker.name
            for breaker in self._breakers
            if (was := _breaker(self, breaker.name)) == breaker.policy and _breaker(new, breaker.name) != was
        )

    def policy_for(self, name: str, protocol: EndpointProtocol = "any") -> ResolvedPolicy | None:
        """Return what protects an endpoint, or None when no one names it and there is no default.

        With `protocol="http"` the limits of globs and the default that only WebSockets can have are skipped.
        Raises ConfigError when two equally specific globs set the same field.
        """
        return self._policies.of(name, protocol)

    @property
    def metrics(self) -> ASGIApp:
        """The endpoint that Prometheus scrapes: `app.mount("/metrics", config.metrics, name="metrics")`."""
        return self._metrics

    @property
    def health(self) -> HealthApp:
        """The endpoints that say how the service is: `app.mount("/health", config.health, name="health")`."""
        return self._health

    def unrouted(self) -> ResolvedPolicy:
        """Return how requests are observed that no route matches."""
        return self._policies.unrouted()

    @property
    def breakers(self) -> Breakers:
        """All breakers of this config in this process."""
        return self._breakers

    def breaker(self, name: str) -> Breaker:
        """Return the breaker of this name, to be used as `async with`; ConfigError when no policy has it."""
        return self._breakers.get(name)

    @property
    def statements(self) -> Statements:
        """Who is told of what is asked of the databases."""
        return self._statements

    @property
    def outgoing(self) -> Upstreams:
        """All upstreams of this config in this process."""
        return self._outgoing

    def upstream(self, name: str) -> "Client":
        """Return the shared `httpx.AsyncClient` of this upstream; ConfigError when none has the name."""
        return self._outgoing.client(name)

    def check(self, endpoints: Sequence[EndpointLike], layers: Sequence[str]) -> list[str]:
        """Return a line for each thing that does not fit an app's endpoints and the layers of its stack."""
        found = misfits(self._policies, endpoints, layers, flood_guard=self.flood_guard is not None)
        signed = self.audit_log is None or self.key_ring is not None
        found += console_misfits(self._policies, endpoints, app=self._console, signed=signed)
        return [*found, *uncredited(self, self._policies, endpoints), *self._job_misfits(endpoints)]

    def _job_misfits(self, endpoints: Sequence[EndpointLike]) -> Iterable[str]:
        return job_misfits(
            self._policies,
            endpoints,
            queues=self.queues,
            store=self.store,
            keys=self.key_ring,
            app=self._jobs,
            webhooks=self.webhooks,
            api_keys=self.api_keys is not None,
        )

    @property
    def key_ring(self) -> KeyRing | None:
        """The keys that `keys` names."""
        return self.keys if isinstance(self.keys, KeyRing) else None

    @property
    def keyring(self) -> Keyring | None:
        """The keys that `payload_keys` names, ready for use."""
        return self._keyring

    @property
    def jobs(self) -> JobsApp:
        """The endpoints that show jobs, to be mounted: `app.mount("/jobs", config.jobs, name="jobs")`."""
        return self._jobs

    @property
    def console(self) -> ConsoleApp:
        """The page for operators, to be mounted: `app.mount("/console", config.console, name="console")`."""
        return self._console

    @property
    def resource_metadata(self) -> str:
        """The address of the service's own description (RFC 9728 §3.1); empty where `resource` is not given."""
        return metadata_address(self.resource) if self.resource else ""

    def model_post_init(self, context: object, /) -> None:
        """Make the policies ready to be looked up, once they agree with each other."""
        named, disputed = breakers_of(self.endpoints, self.default, self.upstreams)
        strange = [
            *unknown_groups(self.endpoints, self.default, self.networks),
            *unknown_databases(self.endpoints, self.default, self.databases),
            *unsigned(self.endpoints, self.default, self.key_ring),
            *unsealable(self.endpoints, self.default, self.key_ring),
        ]
        if wrong := [*disagreements(self.endpoints, self.default, self.key_functions), *disputed, *strange]:
            raise ConfigError(*wrong)
        self._keyring = keyring_of(self.payload_keys)
        if sealless := [*keyless(self.endpoints, self.default, self._keyring, api_keys=self.api_keys is not None)]:
            raise ConfigError(*sealless)
        self._breakers = Breakers(named)
        self._outgoing = Upstreams(self.upstreams, self._breakers)
        self._policies = Policies(self.endpoints, self.default, self.telemetry.metrics_to)

    @model_validator(mode="wrap")
    @classmethod
    def _say(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            wrong = problems(restated(error, cls.model_fields, LATER, frozenset({"presets"})))
        raise ConfigError(*wrong)  # outside, so that it does not carry the values along as its context

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what Python says, and from outside what it does not."""
        path = None if init_settings() else os.environ.get("FORECOURT_CONFIG")
        return init_settings, Outside(settings_cls, Path(path) if path else None)


def _breaker(config: JobConfig, name: str) -> CircuitBreaker | None:
    """Return what a config says of the breaker of this name, its own or an endpoint's."""
    named = config.breakers.named(name)
    policy = config.policy_for(name) if named is None else None
    return policy.circuit_breaker if policy else named
