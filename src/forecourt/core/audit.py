"""An audit trail whose lines cannot be changed, moved, added or taken out without it being seen.

Each line carries its place in a chain and the MAC of the line before, and a MAC over all of that, by a key that who can
write to the file need not have. A chain begins with a line of the kind `opened` and ends with `closed`: a chain without
its end was cut off, by a crash or by somebody. After Schneier and Kelsey, "Secure Audit Logs to Support Computer
Forensics" (1999), with one key instead of one for each line.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

Signs = Callable[[bytes], tuple[str, str]]
"""Bytes → (key id, MAC)."""

Verifies = Callable[[str, str, bytes], bool]
"""(key id, MAC, bytes) → whether that key made it."""

MAC, KEY, PREVIOUS = "mac", "key", "previous"
_BEGINNING = ""


class Chain:
    """The lines of one process, from its start to its end; `name` tells chains apart."""

    def __init__(self, name: str, sign: Signs) -> None:
        self.name = name
        self._sign = sign
        self._place = 0
        self._previous = _BEGINNING

    def line(self, fields: Mapping[str, object]) -> bytes:
        """Return the next line, without its end."""
        record = {"chain": self.name, "place": self._place, **fields, PREVIOUS: self._previous}
        key, mac = self._sign(_signed(record))
        self._place += 1
        self._previous = mac
        return _written({**record, KEY: key, MAC: mac})


class Fault(NamedTuple):
    """What is wrong with a trail: the line, from 1 (0: of the whole), and what."""

    line: int
    said: str


class _Read(NamedTuple):
    """How far a chain was read: its next place, its last MAC, its last line, and whether that closed it."""

    place: int
    mac: str
    line: int
    closed: bool


def faults(lines: Iterable[bytes], verify: Verifies) -> Iterator[Fault]:
    """Yield what is wrong with a trail: nothing, where it is as it was written, to the end of each chain."""
    chains: dict[str, _Read] = {}
    for number, text in enumerate(lines, 1):
        record = _read(text)
        if record is None:
            yield Fault(number, "is no record")
            continue
        name, place, mac = str(record.get("chain")), record.get("place"), str(record.pop(MAC, ""))
        if not verify(str(record.pop(KEY, "")), mac, _signed(record)):
            yield Fault(number, "was changed, or is of another key")
            continue
        before = chains.get(name, _Read(0, _BEGINNING, 0, closed=False))
        if place != before.place or record.get(PREVIOUS) != before.mac:
            yield Fault(number, f"does not follow: a record before it was taken out, moved or doubled (chain {name})")
        chains[name] = _Read(before.place + 1 if place == before.place else _next(place), mac, number, _closes(record))
    for name, read in chains.items():
        if not read.closed:
            yield Fault(
                read.line, f"is the last of chain {name}, which has no end: it was cut off, or is still written"
            )


def _next(place: object) -> int:
    return place + 1 if isinstance(place, int) else 0


def _closes(record: Mapping[str, object]) -> bool:
    return record.get("event") == "closed"


def _read(text: bytes) -> dict[str, object] | None:
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _signed(record: Mapping[str, object]) -> bytes:
    return _written(dict(sorted(record.items())))


def _written(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode()
