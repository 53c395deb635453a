"""API keys as operators use them: create, rotate, list, revoke; in a JSON file, or in the service's store.

    book = StoreBook(store, config.namespace)
    text, record = await create(book, config.api_keys, "alice", scopes={"read:records"})

The text of a key is shown once, when it is made: what is kept is its hash. To rotate is to replace a key by a new one
of the same caller; the old one counts until `until`, if that is given.
"""

import os
import secrets
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from forecourt.auth.api_keys import read_records, written
from forecourt.core.api_key import hashed, made
from forecourt.errors import StoreDown
from forecourt.policies.api_keys import ApiKey, ApiKeys
from forecourt.principals import Keys
from forecourt.stores.contract import Answer, Question, Settlement, Store

_MOST = 100_000


class KeyBook(Protocol):
    """Where records of keys are kept."""

    async def put(self, record: ApiKey) -> None:
        """Keep a record, in place of one with the same id."""
        ...

    async def drop(self, id: str) -> None:  # noqa: A002  # its word
        """Forget a record."""
        ...

    async def all(self) -> list[ApiKey]:
        """Return all records, by id."""
        ...


class FileBook:
    """Records in a JSON file, which is replaced whole, so that readers see all of it or none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, record: ApiKey) -> None:
        """Keep a record."""
        self._write({each.id: each for each in (*self._read(), record)})

    async def drop(self, id: str) -> None:  # noqa: A002  # its word
        """Forget a record."""
        self._write({each.id: each for each in self._read() if each.id != id})

    async def all(self) -> list[ApiKey]:
        """Return all records."""
        return sorted(self._read(), key=lambda record: record.id)

    def _read(self) -> tuple[ApiKey, ...]:
        return read_records(self._path) if self._path.exists() else ()

    def _write(self, records: dict[str, ApiKey]) -> None:
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(written(records.values()))
        new.replace(self._path)


class StoreBook:
    """Records in an open store; every method raises StoreDown or StoreOverloaded when it does not answer."""

    def __init__(self, store: Store, namespace: str = "fc") -> None:
        self._store = store
        self._keys = Keys(namespace)

    async def put(self, record: ApiKey) -> None:
        """Keep a record."""
        await self._store.settle(
            [Settlement("key_put", _place(self._keys), (record.id, record.model_dump_json().encode()))]
        )

    async def drop(self, id: str) -> None:  # noqa: A002  # its word
        """Forget a record."""
        await self._store.settle([Settlement("key_drop", _place(self._keys), (id,))])

    async def all(self) -> list[ApiKey]:
        """Return all records."""
        value = _value(await self._store.decide([Question("key_list", _place(self._keys), (_MOST,), "closed")]))
        return sorted((ApiKey.model_validate_json(line) for line in value.splitlines()), key=lambda record: record.id)


async def create(
    book: KeyBook,
    policy: ApiKeys,
    owner: str,
    *,
    scopes: Collection[str] = (),
    roles: Collection[str] = (),
    tenant: str | None = None,
    tier: str | None = None,
    expires: datetime | None = None,
    webhook: str | None = None,
    encryption_key: Mapping[str, object] | None = None,
) -> tuple[str, ApiKey]:
    """Make a key and keep its record; return the text, which nobody can be told again, and the record."""
    text = made(policy.prefix, secrets.choice)
    record = ApiKey(
        id=text.split("_")[1],
        hash=hashed(text, policy.pepper),
        owner=owner,
        scopes=frozenset(scopes),
        roles=frozenset(roles),
        tenant=tenant,
        tier=tier,
        created=datetime.now(UTC),
        expires=expires,
        webhook=webhook,
        encryption_key=encryption_key,
    )
    await book.put(record)
    return text, record


async def rotate(
    book: KeyBook,
    policy: ApiKeys,
    id: str,  # noqa: A002  # its word
    *,
    until: datetime | None = None,
) -> tuple[str, ApiKey]:
    """Replace a key by a new one of the same caller; the old one counts until then, else no more. KeyError: no such."""
    old = next((record for record in await book.all() if record.id == id), None)
    if old is None:
        raise KeyError(id)
    text, record = await create(
        book,
        policy,
        old.owner,
        scopes=old.scopes,
        roles=old.roles,
        tenant=old.tenant,
        tier=old.tier,
        expires=old.expires,
        webhook=old.webhook,
        encryption_key=old.encryption_key,
    )
    if until is None:
        await book.drop(id)
    else:
        ends = until if old.expires is None else min(until, old.expires)
        await book.put(old.model_copy(update={"expires": ends}))
    return text, record


def find_question(keys: Keys, own: str) -> Question:
    """Ask for the record of a key."""
    return Question("key_find", _place(keys), (own,), "closed")


def _place(keys: Keys) -> str:
    return keys.key("api_keys", "book", "api_keys")


def _value(answers: list[Answer]) -> bytes:
    if not answers[0].values:
        raise StoreDown("the store does not answer")
    value = answers[0].values[0]
    assert isinstance(value, bytes)
    return value
