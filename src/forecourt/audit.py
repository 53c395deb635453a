"""The audit trail of one config in this process: a chain of signed lines, and where they are kept.

Lines go to a file (`JobConfig(audit_log="audit.jsonl")`), to a table (`forecourt.db.AuditTable`), to a stream
(`AuditStream`), to a sink of your own (an object with an async `keep`), or, where none is named, to the standard
library's logger `forecourt.audit`. Many lines are kept together: whoever waits for its own waits for the same write.
Where a write fails or takes too long, everybody who waits for it hears so, and a new chain begins.
"""

import asyncio
import inspect
import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

from forecourt.core.audit import Chain, Signs
from forecourt.policies.keys import KeyRing
from forecourt.runtime import Runtime

logger = logging.getLogger("forecourt")
_trail = logging.getLogger("forecourt.audit")

PURPOSE = "audit"

PATIENCE = 5.0
"""Seconds that a sink may take."""


class AuditSink(Protocol):
    """Where lines of an audit trail are kept; one that has an async `close` is closed at the end of the service."""

    async def keep(self, lines: Sequence[bytes]) -> None:
        """Keep these lines, in order, for good; raise where that cannot be."""
        ...


class FileSink:
    """Appends to a file, and returns when the disk has it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    async def keep(self, lines: Sequence[bytes]) -> None:
        """Append in a thread."""
        await asyncio.to_thread(self._append, b"".join(line + b"\n" for line in lines))

    def _append(self, text: bytes) -> None:
        place = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(place, text) != len(text):
                raise OSError("the disk took only a part")
            os.fsync(place)
        finally:
            os.close(place)


class LogSink:
    """Logs each line, at info, to `forecourt.audit`."""

    async def keep(self, lines: Sequence[bytes]) -> None:
        """Log."""
        for line in lines:
            _trail.info("%s", line.decode())


class Trail:
    """Writes down, many at a time."""

    def __init__(self, sink: AuditSink, sign: Signs) -> None:
        self._sink = sink
        self._sign = sign
        self._chain: Chain | None = None
        self._waiting: list[tuple[Mapping[str, object], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, fields: Mapping[str, object]) -> None:
        """Return when this is kept; raises what the sink raised."""
        loop = asyncio.get_running_loop()
        kept = loop.create_future()
        self._waiting.append((fields, kept))
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write_all())
        await kept

    async def close(self) -> None:
        """End the chain, where one was begun, and let go of the sink's connections, where it has any."""
        if self._chain is not None:
            with suppress(Exception):  # it has been logged; what else is to be closed must be
                await self.write({"event": "closed"})
            self._chain = None
        close = getattr(self._sink, "close", None)
        if inspect.iscoroutinefunction(close):
            await close()

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error = await self._kept([fields for fields, _ in batch])
            for _, kept in batch:
                if kept.done():
                    continue
                if error is None:
                    kept.set_result(None)
                else:
                    kept.set_exception(error)

    async def _kept(self, batch: Sequence[Mapping[str, object]]) -> Exception | None:
        lines: list[bytes] = []
        if self._chain is None:
            self._chain = Chain(os.urandom(6).hex(), self._sign)
            lines.append(self._chain.line({"event": "opened"}))
        lines += [self._chain.line(fields) for fields in batch]
        try:
            async with asyncio.timeout(PATIENCE):
                await self._sink.keep(lines)
        except Exception as error:
            logger.exception(
                "the audit trail could not be written: %d records are lost, a new chain begins", len(lines)
            )
            self._chain = None
            return error
        return None


_opened: weakref.WeakKeyDictionary[Runtime, Trail] = weakref.WeakKeyDictionary()


def trail_of(runtime: Runtime) -> Trail:
    """Return the trail of this runtime's config, which ends with it."""
    trail = _opened.get(runtime)
    if trail is None:
        trail = _opened[runtime] = Trail(_sink(runtime.config.audit_log), _signer(runtime.config.key_ring))
        runtime.closing.insert(0, trail.close)  # its last line may need a database that closes after it
    return trail


def _sink(said: object) -> AuditSink:
    if said is None:
        return LogSink()
    return FileSink(said) if isinstance(said, str | os.PathLike) else cast("AuditSink", said)


def _signer(ring: KeyRing | None) -> Signs:
    assert ring is not None, "the check at startup asks for keys"
    return lambda signed: ring.sign(PURPOSE, signed)
