"""What a config leaves weak, though nothing in it is wrong: each a line with what to say instead."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from forecourt.config import JobConfig
from forecourt.config_check import EndpointLike
from forecourt.config_policies import DOCS_ROUTES, FIELDS, ResolvedPolicy, is_glob
from forecourt.policies.audit import Audit
from forecourt.policies.clients import NO_ADDRESS
from forecourt.policies.webhook import Webhook
from forecourt.policies.wording import spelt

Resolved = tuple[EndpointLike, ResolvedPolicy | None]
"""An endpoint, and what protects it."""

_GUARDS_NOTHING = frozenset({"cache", "deprecation", "headers", "invalidates", "logging", "metrics", "priority"})
_GUARDS_NOTHING |= {"maintenance", "retry", "tracing"}
"""Fields that keep nobody out and bound nothing."""


def weaknesses(config: JobConfig, endpoints: Sequence[Resolved]) -> list[str]:
    """Return a line for each weakness, the config's own first; each once, whatever the number of endpoints."""
    found = [*_of_the_config(config), *_unused_globs(config, endpoints)]
    for endpoint, policy in endpoints:
        if policy is not None:
            found += [*_unguarded(endpoint, policy), *_of_limits(policy), *_of_others(policy)]
    return list(dict.fromkeys(found))


def _of_the_config(config: JobConfig) -> Iterator[str]:
    if not config.flood_guard:
        yield (
            "flood_guard is off: unknown paths and bad credentials are counted by no one;"
            " say flood_guard = {limit = 1000, window = 10}"
        )
    for each in config.trusted_proxies:
        if each != NO_ADDRESS and ip_network(each, strict=False).prefixlen == 0:
            yield f'trusted_proxies: "{each}" believes everyone\'s word of where they call from; name your proxies'
    for place, issuer in enumerate(config.issuers):
        if issuer.development:
            yield f"issuers[{place}]: the development issuer is for this machine only; name the service's own"


def _unused_globs(config: JobConfig, endpoints: Sequence[Resolved]) -> Iterator[str]:
    """Tell of globs and a default of which nothing holds for any endpoint."""
    sources = {said.source for _, policy in endpoints if policy for said in policy.fields.values()}
    for name in config.endpoints:
        if is_glob(name) and f'glob "{name}"' not in sources:
            yield f"{spelt(('endpoints', name))}: nothing of it holds for any endpoint; more specific names say it all"
    says = any(getattr(config.default, field, None) is not None for field in FIELDS)
    if says and "default" not in sources:
        yield "default: nothing of it holds for any endpoint; their own policies say it all"


def _unguarded(endpoint: EndpointLike, policy: ResolvedPolicy) -> Iterator[str]:
    guards = [field for field, said in policy.fields.items() if said.value and field not in _GUARDS_NOTHING]
    if not guards and endpoint.name not in DOCS_ROUTES:
        yield (
            f'endpoint "{endpoint.name}" ({endpoint.path}) has no policy that protects it: say who may call, or that'
            " all may: security = {public = true}"
        )


def _of_limits(policy: ResolvedPolicy) -> Iterator[str]:
    source = policy.fields["rate_limit"].source
    for limit in policy.rate_limit:
        place = f"rate_limit of {source}: {limit.name or limit.type}"
        if limit.on_store_error == "open":
            yield f'{place} refuses nobody while the store is down; say on_store_error = "local", or "closed"'
        if limit.shadow:
            yield f"{place} is a shadow and refuses nobody; leave shadow out once its numbers are right"
        if limit.key in ("principal", "tenant") and policy.security is not None and policy.security.anonymous:
            yield (
                f'{place} counts by {limit.key}, and callers of endpoint "{policy.endpoint}" may be anonymous, whose'
                ' address counts: who has used up a limit goes on without credentials; add one with key = "client"'
            )
    bound = policy.concurrency
    if bound is not None and bound.on_store_error == "open":
        place = f"concurrency of {policy.fields['concurrency'].source}"
        yield f'{place} bounds nothing while the store is down; say on_store_error = "local", or "closed"'


def _of_others(policy: ResolvedPolicy) -> Iterator[str]:
    cache, security, breaker = policy.cache, policy.security, policy.circuit_breaker
    if cache is not None and cache.partition == "everyone" and security is not None and not security.public:
        yield (
            f'cache of {policy.fields["cache"].source}: on endpoint "{policy.endpoint}" what one caller was told is'
            ' told to everyone who was let in; say partition = "scopes", or leave it out'
        )
    if breaker is not None and breaker.mode in ("shadow", "disabled"):
        place = f"circuit_breaker of {policy.fields['circuit_breaker'].source}"
        yield f'{place} is "{breaker.mode}" and never refuses; leave mode out'
    audit, webhook = policy.said("audit"), policy.said("webhook")
    if isinstance(audit, Audit) and not audit.required:
        place = f"audit of {policy.fields['audit'].source}"
        yield f"{place} lets through what cannot be written down; leave required out"
    if isinstance(webhook, Webhook) and webhook.replay:
        place = f"webhook of {policy.fields['webhook'].source}"
        yield f"{place} lets the same message in again and again; leave replay out"
