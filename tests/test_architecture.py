"""The package keeps its layout: floors, cycles, optional packages, sizes, names, docstrings."""

from pathlib import Path

import pytest

from tests.architecture.rules import (
    EVERYWHERE,
    IN_THE_PACKAGE,
    Rule,
    climbing,
    cyclic,
    dependent,
    empty_words,
    oversized,
    pickling,
    reaching_out,
    undescribed,
    untyped,
)
from tests.architecture.sources import Sources

ROOT = Path(__file__).parent.parent
LONG = '"""A long file."""\n' + 400 * "#\n"
LONG_FUNCTION = '"""One long function."""\ndef f():\n    """Go on."""\n' + 59 * "    pass\n"


def sources(*folders: str, below: str = "") -> Sources:
    """Return the Python sources in these folders of the project, by path below one of them."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT / below).as_posix(): path.read_text("utf-8") for path in paths}


PACKAGE = sources("src/forecourt", below="src")
BESIDE_IT = sources("tests", "examples")


@pytest.mark.parametrize("rule", IN_THE_PACKAGE)
def test_the_package_keeps_its_rules(rule: Rule) -> None:
    """Every rule holds in every module of the package."""
    problems = [*rule(PACKAGE)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("rule", EVERYWHERE)
def test_tests_and_examples_keep_the_rules_for_all(rule: Rule) -> None:
    """What can hold beside the package holds there too: each test says in a docstring what must be true."""
    problems = [*rule(BESIDE_IT)]
    assert not problems, "\n".join(problems)


def test_the_rules_are_given_something() -> None:
    """The folders above were found: a rule that reads nothing holds always."""
    assert "forecourt/types.py" in PACKAGE
    assert "tests/test_architecture.py" in BESIDE_IT


CORE, EXCHANGE, STACK = "forecourt/core/a.py", "forecourt/exchange.py", "forecourt/stack.py"
TYPED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
CLASS = '"""A module."""\nclass A:\n    """A class."""\n'


@pytest.mark.parametrize(
    ("rule", "text", "problem"),
    [
        (
            climbing,
            "from forecourt.exchange import Exchange",
            "a.py:1: floor 1 imports forecourt.exchange of floor 3",
        ),
        (climbing, "import forecourt.stack", "floor 1 imports forecourt.stack of floor 5"),
        (climbing, "from ..stack import ROWS", "floor 1 imports forecourt.stack of floor 5"),
        (climbing, "from .. import stores", "floor 1 imports forecourt.stores of floor 2"),
        (climbing, "from forecourt import JobConfig", "floor 1 imports forecourt of floor 7"),
        (
            climbing,
            "def f():\n    from forecourt import stack",
            "a.py:2: floor 1 imports forecourt.stack of floor 5",
        ),
        (climbing, TYPED + "import forecourt.db", "a.py:3: floor 1 imports forecourt.db of floor 4"),
        (climbing, "importlib.import_module('forecourt.cli')", "floor 1 imports forecourt.cli of floor 6"),
        (cyclic, "def f():\n    from forecourt.core import a", "forecourt.core.a -> forecourt.core.a"),
        (dependent, "import fastapi.routing", "forecourt.core.a cannot be imported without fastapi"),
        (
            dependent,
            "try:\n    import yaml\nexcept ImportError:\n    yaml = None",
            "cannot be imported without yaml",
        ),
        (dependent, "def f():\n    import numpy", "a.py:2: numpy is neither required nor optional"),
        (pickling, "import pickle", "a.py:1: pickle runs what it reads"),
        (pickling, "def f():\n    from marshal import loads", "a.py:2: marshal runs what it reads"),
        (reaching_out, "import time", "core imports time"),
        (reaching_out, "from asyncio import sleep", "core imports asyncio"),
        (untyped, "def f(a: dict[str, Any]): ...", "a.py:1: f says Any"),
        (untyped, "async def f(*a: 'Any'): ...", "f says Any"),
        (untyped, "def f(a: Any, /): ...", "f says Any"),
        (untyped, "def f(*, a: Any): ...", "f says Any"),
        (untyped, "def f(*, a: int, **b: Any): ...", "f says Any"),
        (untyped, "class A:\n    def __call__(self) -> typing.Any: ...", "a.py:2: __call__ says Any"),
        (untyped, "class A:\n    a: list[Any]", "a.py:2: a says Any"),
        (undescribed, "import time", "a.py:1: has no docstring"),
        (undescribed, '"""A module."""\nclass A: ...', "a.py:2: A has no docstring"),
        (undescribed, '"""A module."""\nasync def test_it(): ...', "a.py:2: test_it has no docstring"),
        (undescribed, CLASS + "    def f(self): ...", "a.py:4: f has no docstring"),
        (oversized, LONG, "a.py:1: 401 lines, over 400"),
        (oversized, LONG_FUNCTION, "a.py:2: f has 61 lines, over 60"),
        (empty_words, "class LockManager: ...", "a.py:1: LockManager: 'manager' fits anything"),
        (empty_words, "def f():\n    def key_helper(): ...", "a.py:2: key_helper: 'helper' fits anything"),
    ],
)
def test_each_rule_refuses(rule: Rule, text: str, problem: str) -> None:
    """Each rule says what is wrong, in which line, of a module in `core` that breaks it."""
    assert problem in "\n".join(rule({CORE: text, STACK: "", "forecourt/stores/__init__.py": ""}))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (climbing, "from forecourt.policies import Cache\nfrom . import b\nimport json"),
        (cyclic, TYPED + "from forecourt.core import a"),
        (dependent, "import json, pydantic\nfrom forecourt.types import Scope"),
        (dependent, "def f():\n    import yaml"),
        (dependent, TYPED + "import yaml"),
        (reaching_out, "import math"),
        (
            untyped,
            "def _f(a: Any): ...\nclass _A:\n    a: Any\nclass B:\n    _a: Any\n    a: int",
        ),
        (
            undescribed,
            CLASS + "    def _f(): ...\n    def __len__(): ...\n    @a.setter\n    def a(): ...",
        ),
        (undescribed, ""),
        (oversized, LONG.removesuffix("#\n")),
        (oversized, LONG_FUNCTION.removesuffix("    pass\n")),
        (empty_words, "class Utility: ...\nmanager = 1"),
    ],
)
def test_each_rule_lets_pass(rule: Rule, text: str) -> None:
    """What is right, however near to wrong, is no problem."""
    assert [*rule({CORE: text})] == []


def test_each_part_that_needs_an_optional_package_imports_it_once() -> None:
    """Two parts may need httpx, each by one module of its own; a third importer takes it from the first."""
    first, second, third = (f"forecourt/{name}.py" for name in ("auth/fetching", "upstream_transport", "layers/late"))
    lazily = "def f():\n    import httpx"
    assert [*dependent({first: "import httpx", second: "import httpx"})] == []
    (problem,) = dependent({first: "import httpx", third: lazily})
    assert (
        problem
        == "forecourt/layers/late.py:2: httpx is imported by forecourt.auth.fetching already; take it from there"
    )
    (problem,) = dependent({third: "import httpx"})
    assert problem == "forecourt.layers.late cannot be imported without httpx; import it inside a function"


def test_a_cycle_is_seen_through_packages() -> None:
    """A module that imports from its own package's `__init__`, which imports it, is a cycle."""
    package = {"forecourt/core/__init__.py": "from .a import take", CORE: "from forecourt.core import EXACT"}
    assert "forecourt.core -> forecourt.core.a" in next(cyclic(package))


def test_a_module_without_a_floor_is_refused() -> None:
    """A new module at the top has to be given its place."""
    problem = "forecourt/extras.py:1: has no floor; give it one in FLOORS"
    assert [*climbing({"forecourt/extras.py": "", CORE: ""})] == [problem]


def test_an_optional_package_has_one_importer() -> None:
    """A second module that imports an optional package is told who has it already."""
    redis = {f"forecourt/stores/redis/{name}.py": "import redis" for name in ("client", "wire")}
    assert "redis is imported by forecourt.stores.redis.client already" in next(dependent(redis))


def test_an_optional_package_must_not_be_needed_through_another_module() -> None:
    """Importing what imports an optional package at once is needing it, the packages around it included."""
    chain = {
        "forecourt/stores/redis/__init__.py": "import redis",
        "forecourt/stores/redis/urls.py": "",
        "forecourt/stores/opening.py": "import forecourt.stores.redis.urls",
        EXCHANGE: "import forecourt.stores.opening",
        STACK: "def f():\n    import forecourt.stores.opening",
    }
    assert [problem.partition(" ")[0] for problem in dependent(chain)] == [
        "forecourt.exchange",
        "forecourt.stores.opening",
    ]
