"""Verifies API keys against their records: those of the config, of a file, and of the store.

A key whose id is unknown is compared all the same, with a hash that no key has, so that both answers take as long.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from forecourt.auth.credentials import Credential, Rejected, plain
from forecourt.core.api_key import NOBODY, hashed, id_of, same
from forecourt.errors import ConfigError, StoreError
from forecourt.policies.api_keys import ApiKey, ApiKeys
from forecourt.policies.quantities import microseconds
from forecourt.policies.wording import problems
from forecourt.principals import Principal
from forecourt.types import SECOND, Clock

logger = logging.getLogger("forecourt")

SCHEME = "api_key"
BAD = Rejected("token", "the API key is not accepted")
UNAVAILABLE = Rejected("unavailable")

_MOST_KNOWN = 10_000
_LOOK_AGAIN = SECOND
_RECORDS = TypeAdapter(tuple[ApiKey, ...])

Find = Callable[[str], Awaitable[bytes]]
"""Looks an id up in the store: its record as JSON, empty where there is none; raises StoreError."""

Outcome = Credential | Rejected


class _Known(NamedTuple):
    """A record, ready to be compared; `until`: the instant up to which it is believed without asking (None: always)."""

    hash: str
    credential: Credential
    until: int | None = None


class ApiKeyVerifier:
    """Verifies the keys of one config; `find` asks the store, where keys are kept there."""

    def __init__(self, policy: ApiKeys, clock: Clock, find: Find | None = None) -> None:
        self._policy = policy
        self._clock = clock
        self._find = find
        self._listed = self._ready(policy.keys)
        self._file = _File(Path(policy.file)) if policy.file else None
        self._filed = self._ready(self._file.records()) if self._file else {}
        self._looked = clock.now()
        self._remembered: OrderedDict[str, _Known] = OrderedDict()
        self._ttl = microseconds(policy.ttl)

    def verify(self, value: bytes) -> Outcome | Awaitable[Outcome]:
        """Judge the value of the header; an awaitable where the store must be asked."""
        text = value.decode("latin-1")
        own = id_of(text, self._policy.prefix) if len(text) < 128 else None
        if own is None:
            return BAD
        now = self._clock.now()
        known = self._listed.get(own) or self._of_file(own, now) or self._of_memory(own, now)
        if known is None and self._find is not None:
            return self._asked(own, text, now)
        return self._compared(known, text, now)

    def _compared(self, known: _Known | None, text: str, now: int) -> Outcome:
        right = same(known.hash if known else NOBODY, hashed(text, self._policy.pepper))
        if known is None or not right:
            return BAD
        expires = known.credential.expires
        return known.credential if expires is None or now < expires else BAD

    async def _asked(self, own: str, text: str, now: int) -> Outcome:
        assert self._find is not None
        try:
            found = await self._find(own)
        except StoreError:
            return UNAVAILABLE
        if not found:
            return self._compared(None, text, now)
        try:
            record = ApiKey.model_validate_json(found)
        except ValidationError:
            logger.error("the record of API key %s in the store cannot be read", own)  # holds its text
            return BAD
        known = self._known(record)._replace(until=now + self._ttl)
        self._remembered[own] = known
        if len(self._remembered) > _MOST_KNOWN:
            self._remembered.popitem(last=False)
        return self._compared(known, text, now)

    def _of_memory(self, own: str, now: int) -> _Known | None:
        known = self._remembered.get(own)
        if known is None or known.until is None or not known.until - self._ttl <= now < known.until:
            self._remembered.pop(own, None)
            return None
        return known

    def _of_file(self, own: str, now: int) -> _Known | None:
        if self._file is None:
            return None
        if not 0 <= now - self._looked < _LOOK_AGAIN:
            self._looked = now
            if (records := self._file.changed()) is not None:
                self._filed = self._ready(records)
        return self._filed.get(own)

    def _ready(self, records: Iterable[ApiKey]) -> dict[str, _Known]:
        return {record.id: self._known(record) for record in records}

    def _known(self, record: ApiKey) -> _Known:
        scopes, roles = frozenset(record.scopes), frozenset(record.roles)
        told = (record.owner, record.tenant, record.tier, scopes, roles, record.webhook, _text(record.encryption_key))
        principal = Principal(self._policy.issuer, *told)
        expires = None if record.expires is None else round(record.expires.timestamp() * SECOND)
        issued = 0 if record.created is None else round(record.created.timestamp() * SECOND)
        known = replace(plain(principal, SCHEME), expires=expires, issued=issued, id=record.id)
        return _Known(record.hash, known)


def _text(jwk: Mapping[str, object] | None) -> str | None:
    return None if jwk is None else json.dumps(dict(jwk), sort_keys=True)


class _File:
    """A JSON file with a list of records."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def records(self) -> tuple[ApiKey, ...]:
        """Read it; ConfigError when it cannot be."""
        self._seen = self._stamp()
        return read_records(self._path)

    def changed(self) -> tuple[ApiKey, ...] | None:
        """Read it again where it has changed; one that cannot be read changes nothing."""
        if self._stamp() == self._seen:
            return None
        try:
            return self.records()
        except ConfigError as error:
            logger.error("%s; the keys read before hold on", error)  # its text says all
            return None

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size


def read_records(path: Path) -> tuple[ApiKey, ...]:
    """Read a file of records; ConfigError says what is wrong with it."""
    try:
        return _RECORDS.validate_python(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f'api_keys.file: "{path}" cannot be read: {error.strerror}') from None
    except ValidationError as error:
        raise ConfigError(*[f'api_keys.file "{path}": {line}' for line in problems(error)]) from None
    except ValueError:
        raise ConfigError(f'api_keys.file: "{path}" is not JSON') from None


def written(records: Iterable[ApiKey]) -> str:
    """Return the text of a file of records."""
    return json.dumps([json.loads(each.model_dump_json()) for each in records], indent=2) + "\n"
