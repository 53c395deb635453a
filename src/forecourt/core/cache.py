"""The cache's part of a store: entries with the lead that fills them, stamps of tags, and a log of invalidations.

    cache_look     reads an entry, and takes the lead where there is none that is fresh
    cache_tag      reads a tag's stamp, and makes one where there is none
    cache_fill     keeps an entry and gives the lead back
    cache_pass     says that the answer is not to be kept, so that nobody waits for it
    cache_release  gives the lead back without an entry
    cache_hold     keeps leads, while their handlers work
    cache_cut      gives a tag a new stamp, which makes every entry that has the old one invalid
    cache_note     writes an invalidation into the log that guards the tiers of processes
    cache_log      reads the log

**Group.** Look-ups are a group of their own, `look`, after claim and charge, and on a lane of their own. A look-up
never refuses. Standing last, it runs only for calls that were let in and paid for: a hit costs what the call costs,
unless `refund_on` says "hit", and a replay of idempotency looks nothing up. The lead that a look-up takes has an id
and goes back by undo where the caller does not see it, so that the lane may run beside the decision.

**Stamps.** A stamp is unique: never a counter, which would begin again where it was evicted. An entry carries the
stamps of its tags that were read before its handler ran, and is valid while they are equal to those read with it. So a
fill that meets an invalidation is invalid as soon as it is written, and no key is ever searched for. A stamp is two,
`hard.soft`: a soft cut changes the second, and entries that differ there only are stale, not gone.

**State.** A key's entries are its variants, by a digest of the request's fields that the response varies on; `names`
are those fields. Whoever asks with other names is told the right ones. At most about twenty variants are kept.
"""

from typing import NamedTuple, cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register

ABSENT_LEAD, ABSENT_WAIT, ABSENT_PASS, FRESH, STALE_LEAD, STALE_WAIT, OTHER_NAMES = range(7)
"""What a look-up found: nothing, and this caller leads, another leads, or nobody does; a fresh entry; a stale one,
and this caller or another leads; an entry that is selected by other names."""

LEADS = frozenset({ABSENT_LEAD, STALE_LEAD})
WAITS = frozenset({ABSENT_WAIT, STALE_WAIT})

MOST_FIELDS = 64
"""Of a key, as the hash in Lua has them: 3 for each entry, one for each lead and pass, one for the names."""


class Kept(NamedTuple):
    """One variant's entry; `filled`, `fresh` and `keep` are instants."""

    head: bytes
    body: bytes
    filled: int
    fresh: int
    keep: int


class Resource(NamedTuple):
    """What is kept under one key. Tables are never changed in place."""

    names: str = ""
    entries: dict[str, Kept] = {}  # noqa: RUF012  # never changed in place
    leads: dict[str, tuple[str, int]] = {}  # noqa: RUF012
    passes: dict[str, int] = {}  # noqa: RUF012
    until: int = 0

    @property
    def fields(self) -> int:
        """How many fields the hash in Lua has."""
        return bool(self.names) + 3 * len(self.entries) + len(self.leads) + len(self.passes)


def _resource(state: State | None) -> Resource:
    return Resource(*cast("tuple[str, dict[str, Kept], dict[str, tuple[str, int]], dict[str, int], int]", state or ()))


def _write(resource: Resource, until: int = 0) -> Write:
    until = max(resource.until, until)
    return Write(tuple(resource._replace(until=until)), until)


def look(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Read an entry; args: variant, names, id, lead's ttl in µs, `filled` of an entry that is not wanted (0: none).

    Values: what was found (see above), µs that another's lead or the pass still lasts, µs since the entry was filled,
    when it was filled, the names, the head, the body.
    """
    variant, names, own, ttl, unwanted = cast("tuple[str, str, str, int, int]", args)
    resource = _resource(states[0])
    if resource.names != names and resource.entries:
        return Outcome("go", (OTHER_NAMES, 0, 0, 0, resource.names.encode(), b"", b""))
    entry = resource.entries.get(variant)
    if entry is not None and (entry.keep <= now or entry.filled == unwanted):
        entry = None
    if entry is not None and now < entry.fresh:
        return Outcome("go", _values(FRESH, 0, entry, now, names))
    holder, expires = resource.leads.get(variant, ("", 0))
    if expires > now and holder != own:
        return Outcome("go", _values(ABSENT_WAIT if entry is None else STALE_WAIT, expires - now, entry, now, names))
    passing = resource.passes.get(variant, 0)
    if entry is None and passing > now:
        return Outcome("go", _values(ABSENT_PASS, passing - now, None, now, names))
    led = resource._replace(leads=resource.leads | {variant: (own, now + ttl)})
    values = _values(ABSENT_LEAD if entry is None else STALE_LEAD, 0, entry, now, names)
    return Outcome("go", values, (_write(led, now + ttl),))


def _values(found: int, left: int, entry: Kept | None, now: int, names: str) -> tuple[int | bytes, ...]:
    if entry is None:
        return found, left, 0, 0, names.encode(), b"", b""
    return found, left, max(0, now - entry.filled), entry.filled, names.encode(), entry.head, entry.body


def fill(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Keep an entry; args: variant, names, head, body, id, µs for which it is fresh, µs for which it is kept.

    Nothing is kept where another leads meanwhile: what it will fill is newer.
    """
    variant, names, head, body, own, fresh, keep = cast("tuple[str, str, bytes, bytes, str, int, int]", args)
    resource = _resource(states[0])
    holder, expires = resource.leads.get(variant, ("", 0))
    if expires > now and holder != own and own:
        return Outcome("go", ())
    if (resource.names != names and resource.entries) or resource.fields > MOST_FIELDS:
        resource = Resource(until=resource.until)
    kept = Kept(bytes(head), bytes(body), now, now + fresh, now + keep)
    leads = {each: lead for each, lead in resource.leads.items() if each != variant or lead[0] != own}
    passes = {each: until for each, until in resource.passes.items() if each != variant}
    after = resource._replace(names=names, entries=resource.entries | {variant: kept}, leads=leads, passes=passes)
    return Outcome("go", (), (_write(after, now + keep),))


def let_pass(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Have nobody wait for a variant whose answers are not kept; args: variant, id, for how many µs."""
    variant, own, lasting = cast("tuple[str, str, int]", args)
    resource = _without_lead(_resource(states[0]), variant, own)
    after = resource._replace(passes=resource.passes | {variant: now + lasting})
    return Outcome("go", (), (_write(after, now + lasting),))


def release(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Give a lead back; args: variant, id. What is not held is no matter."""
    variant, own = cast("tuple[str, str]", args)
    resource = _resource(states[0])
    after = _without_lead(resource, variant, own)
    return Outcome("go", (), (_write(after) if len(after.leads) < len(resource.leads) else None,))


def _without_lead(resource: Resource, variant: str, own: str) -> Resource:
    leads = {each: lead for each, lead in resource.leads.items() if each != variant or lead[0] != own}
    return resource._replace(leads=leads)


def hold(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Keep leads for another ttl; args: ttl in µs, `variant:id` of each, between spaces. Others' are no matter."""
    ttl, ids = cast("tuple[int, str]", args)
    resource = _resource(states[0])
    held = frozenset(ids.split())
    leads = {
        variant: (own, max(expires, now + ttl)) if f"{variant}:{own}" in held else (own, expires)
        for variant, (own, expires) in resource.leads.items()
    }
    if leads == resource.leads:
        return Outcome("go", ())
    return Outcome("go", (), (_write(resource._replace(leads=leads), now + ttl),))


def unlead(args: tuple[Arg, ...]) -> tuple[str, tuple[Arg, ...]]:
    """Undo a look-up whose answer nobody saw; args as for `look`."""
    return "cache_release", (args[0], args[2])


def tag(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Read a tag's stamp; args: the stamp to give it where it has none, for how many µs. Value: `hard.soft`."""
    fresh, ttl = cast("tuple[str, int]", args)
    if states[0] is not None:
        return Outcome("go", (cast("tuple[bytes]", states[0])[0],))
    stamp = f"{fresh}.{fresh}".encode()
    return Outcome("go", (stamp,), (Write((stamp,), now + ttl),))


def cut(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Give a tag a new stamp; args: the stamp, 1 to change the soft part only, for how many µs."""
    fresh, soft, ttl = cast("tuple[str, int, int]", args)
    hard = fresh.encode()
    if soft and states[0] is not None:
        hard = cast("tuple[bytes]", states[0])[0].partition(b".")[0]
    return Outcome("go", (), (Write((hard + b"." + fresh.encode(),), now + ttl),))


Record = tuple[int, str]
"""A record of the log: its number, which only grows, and its text."""


def note(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Write a record; args: its text, how many records to keep, for how many µs. Its number is at least the time."""
    text, most, ttl = cast("tuple[str, int, int]", args)
    records = _records(states[0])
    number = max(records[-1][0] + 1 if records else 0, now)
    return Outcome("go", (), (Write(((*records, (number, text))[-most:],), now + ttl),))


def log(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Read the log; args: the number of the last record known, for how many µs an empty log is begun.

    Values: the number of the last record; 1 where none is missing in between, else 0; the newer records' texts, a line
    each, the oldest first. They are complete only if the last known one is still there.
    """
    known, ttl = cast("tuple[int, int]", args)
    records = _records(states[0])
    if not records:
        return Outcome("go", (now, 0, b""), (Write((((now, ""),),), now + ttl),))
    newer = "\n".join([text for number, text in records if number > known])
    whole = int(any(number == known for number, _ in records))
    return Outcome("go", (records[-1][0], whole, newer.encode() if whole else b""))


def _records(state: State | None) -> tuple[Record, ...]:
    return cast("tuple[tuple[Record, ...]]", state)[0] if state else ()


LOOK = register(Operation("cache_look", "look", 7, look, undo=unlead, texts=True))
TAG = register(Operation("cache_tag", "look", 1, tag, texts=True))
LOG = register(Operation("cache_log", "look", 3, log, texts=True))
FILL = register(Operation("cache_fill", "settle", 0, fill))
PASS = register(Operation("cache_pass", "settle", 0, let_pass))
RELEASE = register(Operation("cache_release", "settle", 0, release))
HOLD = register(Operation("cache_hold", "settle", 0, hold))
CUT = register(Operation("cache_cut", "settle", 0, cut))
NOTE = register(Operation("cache_note", "settle", 0, note))
