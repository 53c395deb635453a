"""What differs between two configs, endpoint by endpoint and field by field, and where protection is loosened.

Two files are compared by the names, globs and default that either has, each with what holds for it in the end: a field
that is not given is the default's. With the endpoints of an app they are compared by what holds for each of those.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import NamedTuple

from pydantic import BaseModel

from forecourt.config import JobConfig, ResolvedPolicy
from forecourt.config_check import EndpointLike
from forecourt.config_policies import FIELDS, NO_ONE, FieldSource, is_glob, limits, observer
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.keys import KeyRing
from forecourt.policies.quantities import exact
from forecourt.policies.rate_limit import RateLimit
from forecourt.policies.telemetry import Logging, Metrics, Tracing
from forecourt.policies.wording import shown, spelt
from forecourt.telemetry.extras import counter

_NO_PROTECTION = frozenset({"cache", "deprecation", "invalidates", "logging", "metrics", "offload", "priority"})
_NO_PROTECTION |= {"maintenance", "retry", "tracing"}
"""Fields whose removal leaves an endpoint no less protected; of all others it does."""

_MORE = frozenset({"limit", "max_tokens", "refill_rate", "rate", "max_limit", "max_body", "max_age", "fail_max"})
_MORE |= {"seconds", "local_share", "bytes", "most", "max_records", "max_delay", "tolerance", "size"}
"""Numbers that let more pass when they are raised; None is no bound at all."""

_LESS = frozenset({"window", "per", "interval", "cost", "amount", "remember"})
"""Numbers that let more pass when they are lowered."""

_TRUE = frozenset({"shadow", "anonymous", "public", "replay"})
"""What lets more pass once it is said."""

_FALSE = frozenset({"required", "exact"})
_FEWER = frozenset({"scopes", "roles", "deny"})
"""Sets that let more pass when something is taken away."""

_WIDER = frozenset({"allow", "schemes", "acr", "accepts"})
"""Sets that let more pass when something is added; none at all is widest."""

_EMPTY_IS_WIDEST = frozenset({"acr", "accepts"})

_WORDS: Mapping[str, tuple[str, ...]] = {
    "on_store_error": ("closed", "local", "open"),
    "match_scopes": ("all", "any"),
    "match_roles": ("all", "any"),
    "partition": ("principal", "tenant", "scopes", "everyone"),
    "mode": ("forced_open", "on", "shadow", "disabled"),
}
"""Words from strict to loose."""

_GUARDS = frozenset({"flood_guard", "revocation", "audit_log"})
"""Fields of a config, beside those of endpoints, whose removal loosens protection."""


_OBSERVERS: Mapping[str, type[Tracing] | type[Metrics] | type[Logging]] = {
    "tracing": Tracing,
    "metrics": Metrics,
    "logging": Logging,
}
"""Fields that are on where nobody says anything and their package is installed."""


class Change(NamedTuple):
    """One field that differs: where it stands, what it was and is (None: off), and how that loosens protection."""

    place: str
    old: object
    new: object
    looser: tuple[str, ...] = ()


def changes(old: JobConfig, new: JobConfig, endpoints: Sequence[EndpointLike] | None = None) -> list[Change]:
    """Return what differs; with `endpoints` what holds for each of them, else for each name that a config has."""
    return [*_of_the_config(old, new), *_of_endpoints(old, new, endpoints)]


def _of_the_config(old: JobConfig, new: JobConfig) -> Iterator[Change]:
    for field in JobConfig.model_fields:
        was, now = getattr(old, field), getattr(new, field)
        if field in ("endpoints", "default") or _alike(was, now):
            continue
        looser = _loosened(was, now) if field == "flood_guard" else ()
        if field in _GUARDS and was and not now:
            looser = (f"{field} is removed",)
        if field == "trusted_proxies" and set(now) - set(was):
            looser = ("more proxies are believed",)
        yield Change(field, was, now, looser)


def _of_endpoints(old: JobConfig, new: JobConfig, endpoints: Sequence[EndpointLike] | None) -> Iterator[Change]:
    if endpoints is None:
        names = list(dict.fromkeys([*old.endpoints, *new.endpoints]))
        pairs = [(spelt(("endpoints", name)), _held(old, name), _held(new, name)) for name in names]
    else:
        known = dict.fromkeys((each.name, each.protocol) for each in endpoints)
        pairs = [
            (spelt(("endpoints", name)), old.policy_for(name, how), new.policy_for(name, how)) for name, how in known
        ]
    for place, was, now in [("default", _default(old), _default(new)), *pairs]:
        yield from _of_policies(place, was, now)


Held = ResolvedPolicy | Mapping[str, object] | None
"""What holds, field by field (None: off); None where nothing is said at all."""


def _of_policies(place: str, old: Held, new: Held) -> Iterator[Change]:
    if old is None and new is None:
        return
    if new is None or old is None:
        named = ("its policy is removed",) if new is None and place == "default" else ()
        yield Change(place, _named(old), _named(new), named)
        if new is None and place != "default":
            return
    for field in FIELDS:
        was, now = _value(old, field), _value(new, field)
        if not _alike(was, now):
            looser = ("the policy is removed",) if now is None and field not in _NO_PROTECTION else _loosened(was, now)
            yield Change(f"{place}.{field}", was, now, looser)


def _named(held: Held) -> str | None:
    return None if held is None else "named"


def _value(held: Held, field: str) -> object:
    if not isinstance(held, ResolvedPolicy):
        return (held or {}).get(field)
    said = held.fields[field]
    if field not in _OBSERVERS:
        return said.value
    return observer(counter(field, held.metrics_to), said, _OBSERVERS[field])


def _default(config: JobConfig) -> Held:
    return None if config.default is None else _fields(config.default, None)


def _held(config: JobConfig, name: str) -> Held:
    """Return what holds for a name; for a glob its own fields, else the default's."""
    if not is_glob(name):
        return config.policy_for(name)
    own = config.endpoints.get(name)
    if own is None and config.default is None:
        return None
    return _fields(own or EndpointPolicy(), config.default)


def _fields(policy: EndpointPolicy, default: EndpointPolicy | None) -> Mapping[str, object]:
    def held(field: str) -> object:
        said = getattr(policy, field)
        said = getattr(default, field, None) if said is None else said
        if said is None and field in _OBSERVERS:  # on by itself, where it is installed
            return observer(field, FieldSource(None, NO_ONE), _OBSERVERS[field])
        return None if said == "off" else said

    return {field: held(field) for field in FIELDS}


def _alike(old: object, new: object) -> bool:
    """Return whether two values say the same."""
    if isinstance(old, KeyRing) and isinstance(new, KeyRing):
        return old.ids() == new.ids()
    return type(old) is type(new) and old == new


def _loosened(old: object, new: object) -> tuple[str, ...]:
    """Say how a value loosens protection; nothing where it does not, or where the two cannot be compared."""
    if old is not None and (limits(old) or limits(new)):
        return _limits_loosened(limits(old), limits(new))
    if isinstance(old, int) and isinstance(new, int) and type(old) is type(new) and new > old:
        return (f"raised from {old} to {new}",)
    return _model_loosened(old, new)


def _model_loosened(old: object, new: object) -> tuple[str, ...]:
    """Compare two models of one kind, field by field."""
    if not isinstance(old, BaseModel) or type(old) is not type(new):
        return ()
    found: list[str] = []
    for field in type(old).model_fields:
        was, now = getattr(old, field), getattr(new, field)
        if was != now and (word := _word(field, was, now)):
            found.append(word)
    return tuple(found)


def _limits_loosened(old: Sequence[RateLimit], new: Sequence[RateLimit]) -> tuple[str, ...]:
    """Compare limits that are called alike; one that is gone loosens."""
    after = _by_name(new)
    found: list[str] = []
    for name, limit in _by_name(old).items():
        if name not in after:
            found.append(f"{name} is removed")
        else:
            found += [f"{name}: {word}" for word in _model_loosened(limit, after[name])]
    return tuple(found)


def _by_name(found: Sequence[RateLimit]) -> dict[str, RateLimit]:
    named: dict[str, RateLimit] = {}
    for each in found:
        name = each.name or each.type
        while name in named:
            name += "+"
        named[name] = each
    return named


def _word(field: str, old: object, new: object) -> str:
    """Say in what way a field of a model is looser than it was; empty where it is not."""
    if field == "tiers" and isinstance(old, Mapping) and isinstance(new, Mapping):
        return _tiers(old, new)
    if field in _MORE or field in _LESS:
        return _number(field, old, new)
    if (field in _TRUE and new is True) or (field in _FALSE and new is False):
        return f"{field} is {shown(new)} now"
    if field in _FEWER or field in _WIDER:
        return _set(field, old, new)
    order = _WORDS.get(field, ())
    if old in order and new in order and order.index(str(new)) > order.index(str(old)):
        return f"{field} is {shown(new)} now, was {shown(old)}"
    return f"{field} is {shown(new)} now" if new == "everyone" else ""


def _number(field: str, old: object, new: object) -> str:
    if field in _MORE and (new is None or new == "off"):
        return f"{field} is not bounded any more"
    if not isinstance(old, int | float | timedelta) or not isinstance(new, int | float | timedelta):
        return ""
    before, after = exact(old), exact(new)
    if field in _MORE:
        return f"{field} raised from {old} to {new}" if after > before else ""
    return f"{field} lowered from {old} to {new}" if after < before else ""


def _set(field: str, old: object, new: object) -> str:
    before = old if isinstance(old, AbstractSet) else frozenset()
    after = new if isinstance(new, AbstractSet) else frozenset()
    if field in _FEWER:
        gone = sorted(map(str, before - after))
        return f"{field} no longer names {', '.join(gone)}" if gone else ""
    if new is None or (field in _EMPTY_IS_WIDEST and not after):
        return f"{field} is not asked for any more"
    if old is None or (field in _EMPTY_IS_WIDEST and not before):
        return ""
    more = sorted(map(str, after - before))
    return f"{field} names {', '.join(more)} too" if more else ""


def _tiers(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    words = []
    for tier in sorted({*old, *new}):
        before, after = old.get(tier), new.get(tier)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            words += [word for each in after if (word := _number(each, before.get(each), after[each]))]
        elif after is None:
            words.append(f"tier {tier} has no numbers of its own any more")
        else:
            words.append(f"tier {tier} has numbers of its own")
    return "; ".join(words)
