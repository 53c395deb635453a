"""How what a config says is shown to people: policies as Python would write them, a change as one line."""

from collections.abc import Mapping, Set

from forecourt.config_addresses import redacted
from forecourt.config_diff import Change
from forecourt.config_jobs import shown_addresses


def spelt_value(value: object) -> str:
    """Spell a policy as Python would write it, without what is at its default and what is not to be shown."""
    fields = getattr(type(value), "model_fields", None)
    if isinstance(value, Set):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    if fields is None:
        return repr(value)
    shown = {name: getattr(value, name) for name, field in fields.items() if field.repr}
    given = {name: said for name, said in shown.items() if said != fields[name].default and said != {}}
    return f"{type(value).__name__}({', '.join(f'{name}={spelt_value(said)}' for name, said in given.items())})"


def spelt_change(change: Change) -> str:
    """Spell one field that differs: where it stands, what it was, what it is."""
    old, new = spelt_side(change.place, change.old), spelt_side(change.place, change.new)
    return f"{change.place}: {old} -> {new}" if old != new else f"{change.place}: {old}, with other values (not shown)"


def spelt_side(place: str, value: object) -> str:
    """Spell one side of a change; None is off, addresses go without their passwords."""
    if value is None:
        return "off"
    if place in ("store", "cache_store"):
        return repr(redacted(str(value)))
    if place == "queues" and isinstance(value, Mapping):
        return repr(shown_addresses(value))
    return spelt_policy(value) or "none"


def spelt_policy(value: object) -> str:
    """Spell what a field of an endpoint's policy says, limits one after the other."""
    return ", ".join(map(spelt_value, value)) if isinstance(value, tuple) else spelt_value(value)
