"""What of a config may change while the service runs, and where its text comes from."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from forecourt.errors import ConfigError

Watch = Literal["file", "store"]
"""Where a stack looks for another config: the file that its own was read from, or what operators push to the store."""

LIVE = ("endpoints", "default", "networks", "flood_guard", "limit_headers", "tell_scopes")
"""Fields of a config that may change while the service runs."""

FIXED = ("encryption", "offload")
"""Fields of an endpoint's policy that may not: sealed records and queues outlive a config."""

Stamp = tuple[int, int, int] | None
"""What tells one state of a file from another: inode, size, time of its last change in ns; None: there is none."""


class Origin(NamedTuple):
    """The file that a config was read from, how it was just before, and the fields that Python gave."""

    path: Path
    stamp: Stamp
    python: Mapping[str, object]


def stamp(path: Path) -> Stamp:
    """Return what tells this state of a file from another."""
    try:
        found = os.stat(path)  # noqa: PTH116  # read from a loop every quarter of a second
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def watched(watch: object, origin: Origin | None, *, alone: bool) -> Watch | None:
    """Return where to look for another config, if that can be; `alone`: nobody shares the store. Else ConfigError."""
    if watch is None:
        return None
    if watch not in ("file", "store"):
        raise ConfigError(f'watch: {watch!r} is not allowed: must be "file" or "store"')
    if origin is None:
        raise ConfigError("watch: this config does not know of a file: say JobConfig.from_file(path)")
    if watch == "store" and alone:
        raise ConfigError('watch: nobody can push to memory://, which is this process\'s own; say "file", or a store')
    return "file" if watch == "file" else "store"


def fixed(places: Iterable[str]) -> Iterator[str]:
    """Return a line for each place of a change that needs a restart."""
    for place in places:
        field = place.rpartition(".")[2]
        of_a_policy = place.startswith(("endpoints.", "default"))
        if field in FIXED if of_a_policy else place not in LIVE:
            yield f"{place}: cannot change while the service runs; leave it as it was, or restart with it"
