"""What goes to a server and what comes back: commands as RESP, scripts, undos, and the errors of a trip.

Packing is by hand because it is paid on every trip: what is known beforehand (command, hash, number of keys) is one
ready piece of bytes, and the small integers that limits are made of are packed once.
"""

import asyncio
import hashlib
import struct
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from forecourt.errors import StoreDown, StoreError

Lane = Literal["decisions", "bodies"]
"""Small decisions, or entries and replays whose size would delay them: each lane has its own connections."""

LANES: tuple[Lane, ...] = ("decisions", "bodies")

Item = str | bytes | int
Reply: TypeAlias = bytes | int | list["Reply"] | None
"""What a server answered; text stays bytes."""

_LENGTHS = [b"\r\n$%d\r\n" % length for length in range(1024)]
_MOST_PACKED = 4096


class Unanswered(StoreDown):
    """The store did not answer this command.

    `written` is True when it may have been applied all the same: it left, and no answer came back.
    """

    def __init__(self, text: str, *, written: bool) -> None:
        super().__init__(text)
        self.written = written


class ReplyError(StoreDown):
    """The server answered with an error; `code` is its first word (`OOM`, `NOPERM`, `ERR` …).

    The command was not applied, unless a script of ours fails half-way, which none does by design.
    """

    written = False

    def __init__(self, code: str, text: str) -> None:
        # What follows repeats the arguments of the command, and those may be secret.
        text = text.partition(", with args beginning with")[0][:300]
        super().__init__(f"{code} {text}".rstrip())
        self.code = code
        self.text = text


class Packing:
    """Packs the items of a command; remembers integers, up to a bound."""

    __slots__ = ("_packed",)

    def __init__(self) -> None:
        self._packed: dict[int, bytes] = {}

    def add(self, parts: list[bytes], items: Sequence[Item]) -> None:
        """Append these items to `parts`; each begins with the line end of what stands before it."""
        for item in items:
            if isinstance(item, int):
                parts.append(self._packed.get(item) or self._integer(item))
                continue
            text = item.encode() if isinstance(item, str) else item
            length = len(text)
            parts.append(_LENGTHS[length] if length < 1024 else b"\r\n$%d\r\n" % length)
            parts.append(text)

    def _integer(self, number: int) -> bytes:
        if len(self._packed) >= _MOST_PACKED:
            self._packed.clear()
        text = b"%d" % number
        packed = self._packed[number] = b"\r\n$%d\r\n%b" % (len(text), text)
        return packed


_packing = Packing()
_packed_args: dict[tuple[Item, ...], bytes] = {}
_packed_together: dict[tuple[int, ...], bytes] = {}


def pack_args(args: tuple[Item, ...]) -> bytes:
    """Return arguments as RESP, each begun by the line end before it; those that are all integers are remembered."""
    packed = _packed_args.get(args)
    if packed is None:
        parts: list[bytes] = []
        _packing.add(parts, args)
        packed = b"".join(parts)
        if all(isinstance(each, int) for each in args):
            if len(_packed_args) >= _MOST_PACKED:
                _packed_args.clear()
            _packed_args[args] = packed
    return packed


def pack_together(numbers: tuple[int, ...]) -> bytes:
    """Return numbers as one item of eight bytes each, begun by the line end before it; they are remembered."""
    packed = _packed_together.get(numbers)
    if packed is None:
        text = struct.pack(f"<{len(numbers)}q", *numbers)
        packed = b"\r\n$%d\r\n%b" % (len(text), text)
        if len(_packed_together) >= _MOST_PACKED:
            _packed_together.clear()
        _packed_together[numbers] = packed
    return packed


def pack(*items: Item) -> bytes:
    """Return one command as RESP."""
    parts = [b"*%d" % len(items)]
    _packing.add(parts, items)
    parts.append(b"\r\n")
    return b"".join(parts)


class Script:
    """A Lua script: its source, and its hash in hexadecimal as the server computes it."""

    __slots__ = ("_heads", "load", "sha", "source")

    def __init__(self, source: str | bytes) -> None:
        self.source = source.encode() if isinstance(source, str) else source
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()
        self.load = pack(b"SCRIPT", b"LOAD", self.source)
        self._heads: dict[tuple[int, int], bytes] = {}

    def __repr__(self) -> str:
        return f"Script({self.sha.decode()})"

    def pack(self, keys: Sequence[str | bytes], args: Sequence[Item]) -> bytes:
        """Return the command that runs the script with these keys and arguments."""
        parts = [self.head(len(keys), len(args))]
        _packing.add(parts, keys)
        _packing.add(parts, args)
        parts.append(b"\r\n")
        return b"".join(parts)

    def head(self, keys: int, args: int) -> bytes:
        """Return how a command with so many keys and arguments begins, up to the line end before the first of them."""
        head = self._heads.get((keys, args))
        if head is None:
            whole = pack(b"EVALSHA", self.sha, keys).removeprefix(b"*3")
            head = self._heads[keys, args] = b"*%d%b" % (3 + keys + args, whole.removesuffix(b"\r\n"))
        return head


class Undo(Protocol):
    """What takes back a command whose caller did not see its answer: a script, its keys and its arguments.

    It is sent when a late reply granted something, and when the connection was lost before a reply. So it must be by an
    id that no later command uses, and harmless where nothing was granted, or when it runs twice.
    """

    @property
    def script(self) -> Script:
        """What is run."""
        ...

    @property
    def keys(self) -> Sequence[str | bytes]:
        """Its keys."""
        ...

    @property
    def args(self) -> Sequence[Item]:
        """Its arguments."""
        ...

    def granted(self, reply: Reply, /) -> bool:
        """Tell from a reply whether there is anything to take back."""
        ...


class Command:
    """One command on its way: packed, with the future of its answer.

    `tick` is when it was asked, then when it was written, in ticks of its connection. `patient`: no deadline ends it
    (undos and loads of scripts, which have no caller). `asking`: ASKING goes right before it. `resent`: how often the
    server did not know its script.
    """

    __slots__ = ("asking", "future", "packed", "patient", "resent", "script", "tick", "undo")

    def __init__(
        self,
        packed: bytes,
        future: asyncio.Future[Reply],
        tick: int,
        script: Script | None = None,
        undo: Undo | None = None,
        *,
        patient: bool = False,
        asking: bool = False,
    ) -> None:
        self.packed = packed
        self.future = future
        self.tick = tick
        self.script = script
        self.undo = undo
        self.patient = patient
        self.asking = asking
        self.resent = 0


def settle(future: asyncio.Future[Reply], outcome: Reply | StoreError) -> None:
    """Give a future its outcome, unless it has one; an error that nobody awaits any more is no mistake."""
    if future.done():
        return
    if isinstance(outcome, StoreError):
        future.set_exception(outcome)
        future.exception()
    else:
        future.set_result(outcome)
