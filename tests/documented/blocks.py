"""The fenced blocks of README and docs, each with its page and line."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))

FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block: the page, the line of its fence, its language and its text."""

    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path, text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page, each without the indent of its fence."""
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found["language"], textwrap.dedent(found["text"]))


def of_page(page: Path) -> list[Block]:
    """Return the blocks of a page as it is."""
    return list(blocks(page, page.read_text("utf-8")))


def with_blocks(language: str) -> list[Path]:
    """Return the pages that have a block in this language."""
    return [page for page in PAGES if any(block.language == language for block in of_page(page))]


def name_of(page: Path) -> str:
    """Return what a page is called: its path from the project's folder."""
    return page.relative_to(ROOT).as_posix()
