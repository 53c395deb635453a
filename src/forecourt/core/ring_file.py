"""A key ring in one file, and the three steps by which one key takes the place of another. Pure.

The first line says what it is; each further line is a secret, in order: the first seals and signs, all open and verify.
To rotate without a failed request, each process must know a key before any of them seals by it, and must keep the old
one until nothing that it sealed is wanted any more:

    add       a new key, last: all processes can open by it, once they have read the file again
    use       the last key goes first: it seals and signs from then on
    retire    an old key goes: what it sealed is as if it were not there
"""

from collections.abc import Callable, Sequence

FIRST_LINE = b"forecourt key ring 1"

Name = Callable[[bytes], str]
"""Returns the id of a secret, as sealed records carry it."""


def read(content: bytes) -> tuple[bytes, ...] | None:
    """Return the secrets of a ring file, none for an empty one; None where this is no ring file."""
    first, *lines = content.splitlines() or [b""]
    if first.strip() != FIRST_LINE:
        return None
    return tuple(line.strip() for line in lines if line.strip())


def written(secrets: Sequence[bytes]) -> bytes:
    """Return the content of a ring file."""
    return b"".join(line + b"\n" for line in (FIRST_LINE, *secrets))


def added(secrets: Sequence[bytes], new: bytes) -> tuple[bytes, ...]:
    """Return the ring with a new key that opens and does not seal yet."""
    return (*secrets, new)


def used(secrets: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the ring with its last key first; ValueError where there is no other one to be opened by."""
    if len(secrets) < 2:
        raise ValueError("there is one key, which seals already; add a new one first")
    return (secrets[-1], *secrets[:-1])


def retired(secrets: Sequence[bytes], name: str, name_of: Name) -> tuple[bytes, ...]:
    """Return the ring without the key of this id; ValueError for one that seals, or that is not there."""
    names = [name_of(secret) for secret in secrets]
    if name not in names:
        raise ValueError(f"there is no key {name}; there are {', '.join(names) or 'none'}")
    if names[0] == name:
        raise ValueError(f"{name} is the one that seals; use another first")
    return tuple(secret for secret, each in zip(secrets, names, strict=True) if each != name)
