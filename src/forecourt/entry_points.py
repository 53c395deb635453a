"""What installed packages bring: entry points, looked up by name and loaded only when a config says that name.

Nothing is loaded for being installed: the groups are read (names only), and the one entry point that is asked for is
imported. What cannot be imported, and a name that two packages have, is a ConfigError.
"""

from importlib.metadata import EntryPoint, entry_points

from forecourt.errors import ConfigError


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


def names_in(group: str) -> list[str]:
    """Return the names of a group's entry points, without loading any."""
    return sorted({each.name for each in entry_points(group=group)})


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
