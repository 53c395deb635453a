"""The docs hold: their names are there, their policy files load, their links lead somewhere."""

import argparse
import ast
import importlib
import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import examples.extending.lockout  # noqa: F401  # the strategy of one's own that pages name
from forecourt.cli import parser
from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.payload.keys import generated
from tests.documented.blocks import FENCED, PAGES, ROOT, Block, blocks

LINK = re.compile(
    r"\]\((?P<inline>[^)\s]+)[^)]*\)|^\[[^\]]+\]: (?P<named>\S+)|(?:href|src)=\"(?P<html>[^\"]+)\"",
    re.MULTILINE,
)
VARIABLE = re.compile(r"env:([A-Z_]+)")
OF_A_POLICY_FILE = {
    "default",
    "endpoints",
    "store",
    "routes",
    "flood_guard",
    "networks",
    "trusted_proxies",
    "upstreams",
}


JWK = json.dumps(generated("x25519", "one"))
"""What a variable holds that is named after one."""


def fenced(language: str) -> list[object]:
    """Return the blocks of all pages in this language, each with its page and line as its name."""
    every = (block for page in PAGES for block in blocks(page, page.read_text("utf-8")))
    chosen = [block for block in every if block.language == language]
    return [pytest.param(block, id=f"{block.page.relative_to(ROOT)}:{block.line}") for block in chosen]


def misused(block: Block) -> list[str]:
    """Return what a Python block asks of forecourt that it has not: names, and arguments by name."""
    wrong: list[str] = []
    imported: dict[str, object] = {}
    tree = compile(block.text, str(block.page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "forecourt":
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                imported[alias.asname or alias.name] = getattr(module, alias.name, None)
                if not hasattr(module, alias.name):
                    wrong.append(f"{node.module} has no {alias.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and callable(imported.get(node.func.id)):
            wrong += unknown(node.func.id, imported[node.func.id], [each.arg for each in node.keywords if each.arg])
    return wrong


def unknown(name: str, called: Any, arguments: list[str]) -> list[str]:
    """Return which of these arguments a class or function does not take by name."""
    parameters = inspect.signature(called).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return []
    taken = {each.name for each in parameters}
    return [f"{name} takes no {each}" for each in arguments if each not in taken]


def known(line: str) -> None:
    """See that a line of a console could be typed: the command, its words and options."""
    words = shlex.split(line, comments=True)
    if "|" in words:  # what is piped into it is another program's
        words = words[len(words) - words[::-1].index("|") :]
    while "=" in words[0]:  # a variable before the command, and one that is set to what it prints
        variable, _, value = words.pop(0).partition("=")
        words = shlex.split(value.removeprefix("$(")) + words if value.startswith("$(") else words
        assert variable.isupper()
    words = [word.removesuffix(")") for word in words]
    if ">" in words:
        words = words[: words.index(">")]
    if words[0] == "forecourt":
        parser().parse_args(words[1:])
    elif words[0].startswith("scripts/"):
        assert (ROOT / words[0]).exists()
    else:
        assert words[0] in {"curl", "pip", "uvicorn", "pytest"}, line


def is_command(words: list[str]) -> bool:
    """Return whether the first of these words is a command of forecourt, and the next an act of it if it has acts."""
    found: Any = parser()
    for word in words:
        acts = next((each for each in found._actions if isinstance(each, argparse._SubParsersAction)), None)
        if acts is None:
            return True
        if word not in acts.choices:
            return False
        found = acts.choices[word]
    return True


def loaded(block: Block, folder: Path) -> None:
    """Parse a TOML block, and where it has a policy file's tables, load it as one."""
    if OF_A_POLICY_FILE & tomllib.loads(block.text).keys():
        path = folder / "policies.toml"
        path.write_text(block.text, "utf-8")
        JobConfig.from_file(path)


def lost(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere; those to other sites are not followed."""
    links = [match[match.lastgroup or 0] for match in LINK.finditer(FENCED.sub("", text))]
    return [link for link in links if "://" not in link and not link.startswith("mailto:") and not leads(page, link)]


def leads(page: Path, link: str) -> bool:
    """Return whether a link finds its file, and its heading where it names one."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target.read_text("utf-8")))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, spelt as code hosts spell them."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCED.sub("", text), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading)) for heading in headings)
    return {each.lower().replace(" ", "-") for each in kept}


def test_the_first_example_does_what_is_said_of_it() -> None:
    """The sixth quick call of the README's service is refused, with the fields that it names."""
    page = ROOT / "README.md"
    example = next(block for block in blocks(page, page.read_text("utf-8")) if block.language == "python")
    names: dict[str, Any] = {}
    exec(compile(example.text, str(page), "exec"), names)  # what the README shows
    with TestClient(names["app"]) as client:
        answers = [client.get("/records/1") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[5].headers["retry-after"] == "1"
    assert answers[5].headers["content-type"] == "application/problem+json"
    assert {"ratelimit", "ratelimit-policy"} <= answers[5].headers.keys()


@pytest.mark.parametrize("block", fenced("python"))
def test_python_in_the_docs_uses_what_there_is(block: Block) -> None:
    """Every block, run or not, imports names that forecourt has, and gives them arguments that they take."""
    assert misused(block) == []


@pytest.mark.parametrize("block", fenced("console"))
def test_commands_in_the_docs_are_commands(block: Block) -> None:
    """Every line after a `$`: of forecourt, its own parser reads it; of scripts, there is such a script."""
    for line in block.text.splitlines():
        if line.startswith("$ "):
            known(line.removeprefix("$ "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_are_commands(page: Path) -> None:
    """What a sentence calls a command of forecourt, or a script, is one."""
    text = FENCED.sub("", page.read_text("utf-8"))
    named = re.findall(r"`(?:[^`\n]*/)?(forecourt [a-z-]+(?: [a-z-]+)?)[^`\n]*`", text)
    assert [each for each in named if not is_command(each.split()[1:])] == []
    scripts = re.findall(r"`(scripts/[a-z-]+)", text)
    assert [each for each in scripts if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("block", fenced("toml"))
def test_policy_files_in_the_docs_load(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every TOML block parses, and every policy file among them is one, once its variables are set."""
    for name in VARIABLE.findall(block.text):
        monkeypatch.setenv(name, JWK if name.endswith("_JWK") else "a secret of thirty-two bytes or more")
    loaded(block, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_in_the_docs_lead_somewhere(page: Path) -> None:
    """Every link to a file or heading of the project finds it."""
    assert lost(page, page.read_text("utf-8")) == []


def block(text: str, language: str = "python") -> Block:
    """Return a block as the checks above get it."""
    return Block(ROOT / "README.md", 1, language, text)


def test_blocks_are_found_where_they_stand() -> None:
    """A block has the line of its fence, its language, and loses the indent of a list around it."""
    page = "1. So:\n\n   ```python title=a\n   a = 1\n   if a:\n       b = 2\n   ```\n\n```\nplain\n```\n"
    found = [(each.line, each.language, each.text) for each in blocks(ROOT / "README.md", page)]
    assert found == [(3, "python", "a = 1\nif a:\n    b = 2\n"), (9, "", "plain\n")]


def test_what_forecourt_has_not_is_named() -> None:
    """A name that is not there, an argument that a model or a function does not take."""
    right = "from forecourt import FixedWindow, PolicyMiddleware\nFixedWindow(limit=1, window=2)\n"
    assert misused(block(right)) == []
    wrong = "from forecourt import FixedWindow, Nothing\nawait x\nFixedWindow(limits=1, window=2)\n"
    assert misused(block(wrong)) == ["forecourt has no Nothing", "FixedWindow takes no limits"]


def test_what_is_no_command_is_refused() -> None:
    """An option that there is not, a script that there is not, a program that nobody was told to install."""
    known("forecourt show main:app  # all of it")
    known("TOKEN=$(forecourt token --scope read:records)")
    known("psql -c 'select 1' | forecourt audit verify - --key env:KEY")
    for wrong in ("forecourt show", "forecourt show main:app --weak"):
        with pytest.raises(SystemExit):
            known(wrong)
    for wrong in ("scripts/nothing", "docker run"):
        with pytest.raises(AssertionError):
            known(wrong)
    assert [is_command(words) for words in (["keys", "list"], ["show", "it"], ["keys", "sell"], ["sell"])] == [
        True,
        True,
        False,
        False,
    ]


def test_what_is_not_a_policy_file_is_refused(tmp_path: Path) -> None:
    """TOML that does not parse fails, and a policy file with a word that no policy has; other TOML passes."""
    loaded(block("[project]\nname = 'shop'\n", "toml"), tmp_path)
    loaded(block("[endpoints.get_record]\n", "toml"), tmp_path)
    with pytest.raises(tomllib.TOMLDecodeError):
        loaded(block("a = \n", "toml"), tmp_path)
    with pytest.raises(ConfigError, match="rate_limits"):
        loaded(block("[endpoints.get_record]\nrate_limits = 3\n", "toml"), tmp_path)


def test_lost_links_are_named(tmp_path: Path) -> None:
    """A link is lost when its file is missing or has no such heading; other sites and code are left alone."""
    (tmp_path / "b.md").write_text("# One `two`, [three](b.md)\n", "utf-8")
    right = "[b](b.md) [b](b.md#one-two-three) [a](#a-b) ![c](b.md 'c') [d](https://a.org) [e](mailto:a@b)"
    wrong = '[x](c.md) [x](b.md#one) [x](#c)\n<img src="c.png">\n\n[name]: d.md\n```\n[x](code.md)\n```\n'
    page = tmp_path / "a.md"
    text = f"# A b\n{right}\n{wrong}"
    page.write_text(text, "utf-8")
    assert lost(page, text) == ["c.md", "b.md#one", "#c", "c.png", "d.md"]
