"""Runs the Python of a page, block after block, in one namespace, in this process.

A block that begins with `# runs` stands by itself: it gets an empty namespace, as somebody who pastes it has one. The
others go on where the page left off, after what `surroundings` says is there on that page. `await` at the top of a
block runs on the page's own loop, on which its app was started. `policies.toml` is the TOML block above, where there is
one, and `lockout.lua` the Lua.
"""

import ast
import asyncio
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, chdir, contextmanager
from pathlib import Path
from types import CodeType, ModuleType

from tests.documented.blocks import ROOT, Block, name_of, of_page
from tests.documented.surroundings import SURROUNDINGS, Names

PEERS = {
    "fastapi_cache": "fastapi-cache2",
    "fastapi_limiter": "fastapi-limiter",
    "idempotency_header_middleware": "asgi-idempotency-header",
    "jwt": "pyjwt",
    "slowapi": "slowapi",
    "tenacity": "tenacity",
}
"""Packages of pages that lead away from them, by what is imported: of the dependency group `check`."""


FILES = {"toml": "policies.toml", "lua": "lockout.lua"}
"""What the blocks of a language are called as files."""


def page_ran(page: Path, folder: Path) -> list[str]:
    """Run a page's Python in this folder; return the lines of blocks that were not, as their peer is not installed."""
    left: list[str] = []
    with asyncio.Runner() as runner, module_of(page) as names, chdir(folder):
        around = AsyncExitStack()
        if (surroundings := SURROUNDINGS.get(name_of(page))) is not None:
            runner.run(around.enter_async_context(surroundings(names)))
        for block in of_page(page):
            if block.language in FILES:
                Path(FILES[block.language]).write_text(block.text, "utf-8")
            elif block.language == "python" and (missing := peer_missing(block)):
                left.append(f"line {block.line}: {missing} is not installed")
            elif block.language == "python":
                run(block, names, runner)
        runner.run(around.aclose())
    return left


@contextmanager
def module_of(page: Path) -> Iterator[Names]:
    """Have a module for a page, as what is defined in a namespace may look for it; yield its names."""
    module = ModuleType("page_" + "".join(each if each.isalnum() else "_" for each in name_of(page)))
    sys.modules[module.__name__] = module
    try:
        yield module.__dict__
    finally:
        del sys.modules[module.__name__]


def run(block: Block, names: Names, runner: asyncio.Runner) -> None:
    """Run one block on these names, or on none but the module's where it says that it runs by itself."""
    if block.text.startswith("# runs"):
        names = {"__name__": names["__name__"]}
        sys.modules[str(names["__name__"])].__dict__.update(names)
    code = compiled(block)
    if code.co_flags & inspect.CO_COROUTINE:
        runner.run(eval(code, names))
    else:
        exec(code, names)


def compiled(block: Block) -> CodeType:
    """Compile a Python block; `await` may stand at its top. Its lines are those of the page."""
    source = "\n" * block.line + block.text
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(source, str(block.page), "exec", flags, dont_inherit=True)
    return code


def peer_missing(block: Block) -> str | None:
    """Return the peer that a block imports and that is not installed."""
    roots = re.findall(r"^(?:from|import) (\w+)", block.text, re.MULTILINE)
    return next((PEERS[root] for root in roots if root in PEERS and importlib.util.find_spec(root) is None), None)


if __name__ == "__main__":
    print("\n".join(page_ran(ROOT / sys.argv[1], Path.cwd())))  # noqa: T201
