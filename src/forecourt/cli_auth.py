"""`forecourt keys`, `forecourt token`, `forecourt revoke`: who may call, from the command line.

Keys are kept where the config's `api_keys` says: its `file`, else the store. The text of a new key goes to standard
output, once.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forecourt.auth.development import development_token
from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.key_book import FileBook, KeyBook, StoreBook, create, rotate
from forecourt.policies import ApiKey, ApiKeys
from forecourt.policies.payload_keys import Jwk, jwks_in, public_jwk
from forecourt.revocations import Revocations, new_id
from forecourt.stores.contract import Store
from forecourt.stores.opening import store_at
from forecourt.types import SystemClock

DAY = 86_400

Act = Callable[[KeyBook, ApiKeys, argparse.Namespace], Awaitable[str]]


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the three commands."""
    _add_keys(commands)
    _add_token(commands)
    _add_revoke(commands)


def _add_keys(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "create, rotate, list and revoke API keys"
    acts = commands.add_parser("keys", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    for name, act, help_ in (
        ("create", _create, "make a key and print it, once"),
        ("rotate", _rotate, "replace a key by a new one of the same caller, and print that"),
        ("list", _list, "print what is kept of each key"),
        ("revoke", _drop, "forget a key"),
    ):
        parser = _command(acts, name, help_)
        parser.set_defaults(run=_keys, act=act)
        if name == "create":
            parser.add_argument("owner", help="whose key it is")
            parser.add_argument("--scope", action="append", default=[])
            parser.add_argument("--role", action="append", default=[])
            parser.add_argument("--tenant")
            parser.add_argument("--tier")
            parser.add_argument("--webhook", metavar="URL", help="the address that is told of the ends of their jobs")
            parser.add_argument("--encryption-key", metavar="FILE", help="their public JWK, to seal answers to")
            parser.add_argument("--days", type=float, help="for how long it counts")
        elif name != "list":
            parser.add_argument("id", help="the middle part of the key")
        if name == "rotate":
            parser.add_argument("--overlap", type=float, default=0, help="hours for which the old one counts on")


def _add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "token", "sign a token of the development issuer, for this machine")
    parser.add_argument("--subject", default="developer")
    parser.add_argument("--scope", action="append", default=[])
    parser.add_argument("--role", action="append", default=[])
    parser.add_argument("--tenant")
    parser.add_argument("--tier")
    parser.add_argument("--minutes", type=float, default=60)
    parser.set_defaults(run=_token)


def _add_revoke(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "revoke a token, or all that a subject was given until now"
    acts = commands.add_parser("revoke", help=words, description=words).add_subparsers(required=True, metavar="WHAT")
    for name, help_ in (
        ("token", "one token by its jti, or an API key by its id"),
        ("subject", "all that it was given"),
    ):
        parser = _command(acts, name, help_)
        parser.add_argument("issuer")
        parser.add_argument("id", help="the token's jti, or the subject")
        parser.add_argument("--days", type=float, default=30, help="how long such a token could still be shown")
        parser.set_defaults(run=_revoke, what=name)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, words: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=words)
    parser.add_argument("--config", type=Path, help="the policy file; else what FORECOURT_CONFIG names")
    return parser


def _config(given: argparse.Namespace) -> JobConfig:
    return JobConfig.from_file(given.config) if given.config else JobConfig()


def _keys(given: argparse.Namespace) -> int:
    config = _config(given)
    policy = config.api_keys
    if policy is None:
        raise ConfigError("api_keys: the config has none; say where they are kept: a `file`, or `store = true`")
    act: Act = given.act
    if policy.file is not None:
        said = asyncio.run(_acted(act(FileBook(Path(policy.file)), policy, given)))
    elif policy.store:
        said = asyncio.run(_in_store(config, lambda store: act(StoreBook(store, config.namespace), policy, given)))
    else:
        raise ConfigError("api_keys: the keys stand in the config itself; others need a `file` or `store = true`")
    print(said)  # a command prints
    return 0


async def _acted(act: Awaitable[str]) -> str:
    return await act


async def _in_store(config: JobConfig, act: Callable[[Store], Awaitable[str]]) -> str:
    if config.store.startswith("memory:"):
        raise ConfigError("store: what is in memory:// is its process's own; name the service's store")
    store = store_at(config.store, SystemClock())
    await store.open()
    try:
        return await act(store)
    finally:
        await store.close()


async def _create(book: KeyBook, policy: ApiKeys, given: argparse.Namespace) -> str:
    expires = None if given.days is None else datetime.now(UTC) + timedelta(days=given.days)
    text, _ = await create(
        book,
        policy,
        given.owner,
        scopes=given.scope,
        roles=given.role,
        tenant=given.tenant,
        tier=given.tier,
        expires=expires,
        webhook=given.webhook,
        encryption_key=_public_key(given.encryption_key),
    )
    return text


def _public_key(path: str | None) -> Jwk | None:
    if path is None:
        return None
    try:
        (found,) = jwks_in(f"file:{path}")
        return dict(public_jwk(found))
    except ValueError as error:
        raise ConfigError(f"--encryption-key {path}: {error}") from None


async def _rotate(book: KeyBook, policy: ApiKeys, given: argparse.Namespace) -> str:
    until = datetime.now(UTC) + timedelta(hours=given.overlap) if given.overlap else None
    try:
        text, _ = await rotate(book, policy, given.id, until=until)
    except KeyError:
        raise ConfigError(f"there is no key {given.id}") from None
    return text


async def _list(book: KeyBook, _policy: ApiKeys, _given: argparse.Namespace) -> str:
    return "\n".join(_line(record) for record in await book.all()) or "no keys"


async def _drop(book: KeyBook, _policy: ApiKeys, given: argparse.Namespace) -> str:
    await book.drop(given.id)
    return f"{given.id} is revoked"


def _line(record: ApiKey) -> str:
    words = [record.id, record.owner]
    words += [f"{name}={value}" for name, value in (("tenant", record.tenant), ("tier", record.tier)) if value]
    words += [f"scope={each}" for each in sorted(record.scopes)] + [f"role={each}" for each in sorted(record.roles)]
    if record.expires is not None:
        words.append(f"until={record.expires:%Y-%m-%dT%H:%M:%SZ}")
    return "  ".join(words)


def _token(given: argparse.Namespace) -> int:
    issuer = next((each for each in _config(given).issuers if each.development), None)
    if issuer is None:
        raise ConfigError("issuers: none of them says `development = true`; tokens of others are theirs to sign")
    said = {"scopes": given.scope, "roles": given.role, "tenant": given.tenant, "tier": given.tier}
    token = development_token(issuer, given.subject, id=new_id(), seconds=given.minutes * 60, **said)
    print(token)  # a command prints
    return 0


def _revoke(given: argparse.Namespace) -> int:
    config = _config(given)
    if not config.revocation:
        raise ConfigError("revocation: it is off, nobody would ask; say `revocation = true`")

    async def act(store: Store) -> str:
        revocations = Revocations(store, config.namespace)
        if given.what == "token":
            await revocations.revoke_token(given.issuer, given.id, keep=given.days * DAY)
        else:
            await revocations.revoke_subject(given.issuer, given.id, keep=given.days * DAY)
        return f"{given.id} is revoked"

    print(asyncio.run(_in_store(config, act)))  # a command prints
    return 0
