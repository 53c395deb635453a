"""What installed packages bring: entry points, looked up by name and loaded only when a config says that name.

Nothing is loaded for being installed: the groups are read (names only), and the one entry point that is asked for is
imported. What cannot be imported, and a name that two packages have, is a ConfigError.
"""

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from forecourt.errors import ConfigError

Kind = TypeVar("Kind")


def found_by(group: str, name: str) -> object | None:
    """Return what the entry point of this name loads, None where nobody has it; ConfigError where it cannot be had."""
    found = {each.value: each for each in entry_points(group=group, name=name)}
    if not found:
        return None
    if len(found) > 1:
        owners = " and ".join(sorted(_owner(each) for each in found.values()))
        raise ConfigError(f"entry point {name!r} of {group} is in {owners}; uninstall one")
    (entry,) = found.values()
    try:
        loaded: object = entry.load()
    except Exception as error:  # another package's import may raise anything
        raise ConfigError(
            f"entry point {name!r} of {group} ({_owner(entry)}): {type(error).__name__}: {error}"
        ) from error
    return loaded


def brought(group: str, name: str, kind: type[Kind]) -> Kind:
    """Return what the entry point of this name loads; ConfigError where nobody has it, or where it is no `kind`."""
    found = found_by(group, name)
    if found is None:
        names = names_in(group)
        near = difflib.get_close_matches(name, names, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"they bring {', '.join(names) or 'none'}"
        raise ConfigError(f"no installed package brings {name!r} of {group}; {hint}")
    if not isinstance(found, kind):
        raise ConfigError(f"entry point {name!r} of {group}: it must be of type {kind.__name__}")
    return found


def names_in(group: str) -> list[str]:
    """Return the names of a group's entry points, without loading any."""
    return sorted({each.name for each in entry_points(group=group)})


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
