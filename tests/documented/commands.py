"""Types the commands of a page's console blocks, one after the other, into a folder with a small service.

What is shown below a command must be what it prints. Instants, seconds and digests of callers differ from run to run:
they are held to their form. A line that is only `…` stands for any lines. Of a pipe the last part is typed, on what the
service says came before it. Programs other than forecourt are not run.
"""

import importlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from forecourt.cli import main
from tests.documented.blocks import of_page

FORMS = {
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"): "an instant",
    re.compile(r"\b\d+\.\d{3} s\b"): "some seconds",
    re.compile(r"\bcaller [\w-]{16}\b"): "a caller",
}

OURS = "forecourt"
RUN_ELSEWHERE = {"worker"}
"""Commands that are not typed here: a worker runs until it is stopped, in tests/jobs/test_worker_command.py."""

MODULE = """
from fastapi import FastAPI
from forecourt import JobConfig, PolicyMiddleware

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(PolicyMiddleware, config=JobConfig.from_file("policies.toml"))
"""

ROUTE = """
@app.api_route({path!r}, methods={methods!r}, name={name!r})
async def handler() -> None: ...
"""


class Typed(NamedTuple):
    """One command of a block: its line, and the lines that are shown below it."""

    line: str
    shown: list[str]


class Said(NamedTuple):
    """What a command printed, what it said was wrong, and its exit code."""

    code: int
    lines: list[str]
    error: str


def commands(page: Path) -> list[Typed]:
    """Return the commands of forecourt in a page's console blocks, in order, but for those that run elsewhere."""
    texts = [block.text for block in of_page(page) if block.language == "console"]
    found = [command for text in texts for command in typed(text)]
    return [each for each in found if (words := taken_apart(each.line)[1])[0] == OURS and words[1] not in RUN_ELSEWHERE]


def typed(text: str) -> list[Typed]:
    """Return the commands of a console block in order; what follows one up to the next is what it prints."""
    found: list[Typed] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Typed(line.removeprefix("$ "), []))
        else:
            found[-1].shown.append(line)
    return found


@contextmanager
def service(folder: Path, policies: str, routes: Mapping[str, str]) -> Iterator[None]:
    """Write `main.py`, with these routes by name, and its policy file into a folder, and work there."""
    said = [ROUTE.format(name=name, path=path, methods=["GET", "POST"]) for name, path in routes.items()]
    (folder / "main.py").write_text(MODULE + "".join(said), "utf-8")
    (folder / "policies.toml").write_text(policies, "utf-8")
    with chdir(folder), patch.object(sys, "path", [str(folder), *sys.path]):
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.modules.pop("main", None)


def done(line: str, given: str = "") -> Said:
    """Type a line of forecourt's, with this on standard input."""
    variables, words, target = taken_apart(line)
    sys.modules.pop("main", None)
    stdin = io.TextIOWrapper(io.BytesIO(given.encode()))
    out, wrong = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(wrong),
        patch.object(sys, "stdin", stdin),
        patch.dict(os.environ, variables),
    ):
        code = main(words[1:])
    if target:
        Path(target).write_text(out.getvalue(), "utf-8")
    return Said(code, [] if target else out.getvalue().splitlines(), wrong.getvalue())


def taken_apart(line: str) -> tuple[dict[str, str], list[str], str]:
    """Return the variables that a line sets for its command, the last command's words, and the file it writes to."""
    words = shlex.split(line, comments=True)
    if "|" in words:
        words = words[len(words) - words[::-1].index("|") :]
    variables = {}
    while (found := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])) is not None:
        if found[2].startswith("$("):
            words = [found[2].removeprefix("$("), *words[1:-1], words[-1].removesuffix(")")]
            break
        if found[2] != "…":
            variables[found[1]] = found[2]
        words = words[1:]
    target = words[words.index(">") + 1] if ">" in words else ""
    return variables, words[: words.index(">")] if target else words, target


def differs(shown: list[str], said: list[str]) -> str:
    """Return what is not as shown, in words; nothing where it is, or where nothing is shown."""
    if not shown:
        return ""
    pattern = "".join(r"(?:[^\n]*\n)*" if line == "…" else re.escape(f"{formed(line)}\n") for line in shown)
    if re.fullmatch(pattern, "".join(f"{formed(line)}\n" for line in said)):
        return ""
    return "\n".join(["shown:", *shown, "printed:", *said])


def formed(line: str) -> str:
    """Return a line with what differs from run to run replaced by a word for it."""
    for form, word in FORMS.items():
        line = form.sub(word, line)
    return line
