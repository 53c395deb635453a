"""`forecourt config`: have a service that watches its store go over to another config, while it runs.

forecourt config push policies.toml
forecourt config push policies.toml --store redis://valkey:6379
forecourt config show policies.toml
forecourt config drop policies.toml

The processes whose stack says `watch="store"` follow within a second. Each checks what is pushed as at a start, against
its own app, environment and Python, and keeps what is in force where that fails; its log and its metrics say so.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from forecourt.config import JobConfig
from forecourt.config_addresses import redacted, store_address
from forecourt.config_file import Document, opened, written
from forecourt.errors import ConfigError
from forecourt.live import Books
from forecourt.orders import Orders
from forecourt.policies.wording import spelt
from forecourt.principals import Keys
from forecourt.stores.opening import store_at
from forecourt.types import SystemClock

Act = Callable[[Books, Document], Awaitable[str]]


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its three acts."""
    words = "have a running service go over to another config"
    acts = commands.add_parser("config", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    for name, act, help_ in (
        ("push", _push, "put a policy file in force in all processes that watch the store"),
        ("show", _show, "print what is pushed"),
        ("drop", _drop, "have them go back to their own files"),
    ):
        parser = acts.add_parser(name, help=help_, description=help_)
        parser.add_argument("file", type=Path, metavar="FILE", help="the policy file, which names the store")
        parser.add_argument("--store", help="the service's store, where the file does not name it")
        parser.set_defaults(run=_run, act=act)


def _run(given: argparse.Namespace) -> int:
    config = JobConfig.from_file(given.file)
    address = given.store or config.store
    if address.startswith("memory:"):
        raise ConfigError("store: nobody can push to memory://; name the service's store, or say --store")
    print(asyncio.run(_done(config, str(address), given)))
    return 0


async def _done(config: JobConfig, address: str, given: argparse.Namespace) -> str:
    clock = SystemClock()
    store = store_at(store_address(address), clock)
    keys = Keys(config.namespace)
    await store.open()
    act: Act = given.act
    try:
        return await act(Books(store, keys, Orders(store, keys, clock)), opened(given.file))
    finally:
        await store.close()


async def _push(books: Books, document: Document) -> str:
    if wrong := list(_inline(written(document))):
        raise ConfigError(*wrong)
    digest = await books.push(Document(Path(document.name).name, document.text))
    return f"pushed: {digest}; processes that watch the store follow within a second, or log why they do not"


async def _show(books: Books, _document: Document) -> str:
    digest = await books.pushed()
    return "nothing is pushed." if digest is None else (await books.document(digest)).text


async def _drop(books: Books, _document: Document) -> str:
    return "dropped: processes go back to their files" if await books.drop() else "nothing was pushed."


def _inline(table: Mapping[str, object]) -> Iterator[str]:
    """Tell of addresses whose passwords would stand in the store."""
    queues, databases = table.get("queues"), table.get("databases")
    found: dict[tuple[str, ...], object] = {(name,): table.get(name) for name in ("store", "cache_store")}
    found |= {("queues", name): said for name, said in (queues.items() if isinstance(queues, dict) else ())}
    for name, said in databases.items() if isinstance(databases, dict) else ():
        found |= {("databases", name, word): said.get(word) for word in ("url", "replica") if isinstance(said, dict)}
    for place, said in found.items():
        if isinstance(said, str) and "***" in redacted(said) and not said.startswith(("env:", "file:")):
            yield f'{spelt(place)}: its password would stand in the store; say "env:NAME" or "file:path"'
