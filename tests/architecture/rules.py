"""The rules of the package's layout, each a function from sources to what breaks it.

`test_architecture.py` applies them to the whole package and shows each one a source that it must refuse.
What they yield reads "path:line: what is wrong; what to do".
"""

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter

from tests.architecture.sources import (
    Function,
    Import,
    Named,
    Sources,
    annotations,
    decorators,
    imports,
    module_name,
    name_of,
    packages_around,
    public,
    trees,
    words,
)

Rule = Callable[[Sources], Iterator[str]]

FLOORS = (
    ("types", "errors", "entry_points"),
    ("policies", "core", "works", "breaker*", "deadlines", "surroundings", "upstream*"),
    (
        "auth",
        "ciphers",
        "config*",
        "decisions",
        "redaction",
        "telemetry",
        "routing",
        "responses",
        "clients",
        "principals",
        "lifespan",
        "payload",
        "limit_fields",
        "sealing",
        "stores",
        "leases",
        "fleet",
        "orders",
        "losses",
        "timers",
        "ids",
    ),
    (
        "runtime",
        "asking",
        "exchange",
        "shared",
        "live",
        "health",
        "audit*",
        "caching",
        "key_book",
        "ledger",
        "protected_resource",
        "revocations",
    ),
    ("layers", "jobs", "db", "database_opening"),
    ("stack", "dispatch", "observers", "console", "middleware", "single_layers", "limits"),
    ("integrations", "inspection", "explanation", "schema", "cli*", "testing*"),
    ("__init__",),
)
"""What lies on which floor, lowest first; imports go to the same floor or down."""

REQUIRED = frozenset({"pydantic", "pydantic_core", "pydantic_settings", "starlette"})
"""Packages that are always there: those that pyproject.toml names, and pydantic's own core."""

OPTIONAL = {
    "aiosqlite": ("forecourt.db",),
    "cryptography": ("forecourt.ciphers", "forecourt.payload.hpke"),
    "fastapi": ("forecourt.integrations",),
    "hiredis": ("forecourt.stores.redis",),
    "httpx": ("forecourt.auth.fetching", "forecourt.client", "forecourt.upstream_transport"),
    "joserfc": ("forecourt.auth.jose", "forecourt.payload.jwe"),
    "opentelemetry": ("forecourt.telemetry.otel", "forecourt.telemetry.job_spans", "forecourt.telemetry.meter"),
    "orjson": ("forecourt.telemetry.structured",),
    "prometheus_client": ("forecourt.telemetry.prometheus",),
    "pulsar": ("forecourt.jobs.pulsar",),
    "pybreaker": ("forecourt.breaker_mirror",),
    "pytest": (
        "forecourt.testing.fixtures",
        "forecourt.testing.store_contract",
        "forecourt.testing.strategy_contract",
    ),
    "redis": ("forecourt.stores.redis",),
    "sqlalchemy": ("forecourt.db",),
    "structlog": ("forecourt.telemetry.structured",),
    "yaml": ("forecourt.config_yaml",),
}
"""Packages that may be missing, and the parts of forecourt that may need them as soon as they are imported."""

PICKLES = frozenset({"cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"})
OUTSIDE = frozenset({"asyncio", "http", "logging", "os", "pathlib", "socket", "ssl", "subprocess", "threading"})
OUTSIDE |= {"datetime", "time"}
EMPTY_WORDS = frozenset({"abstract", "helper", "helpers", "impl", "manager", "util", "utils"})
FILE_LINES = 400
TEST_FILE_LINES = 500
"""A file of tests may be a little longer than a file of the package: its scenes stand beside each other."""
FUNCTION_LINES = 60


def climbing(sources: Sources) -> Iterator[str]:
    """Refuse imports from a higher floor, for type checkers too, and modules without a floor."""
    for path in sources:
        if floor(module_name(path)) is None:
            yield f"{path}:1: has no floor; give it one in FLOORS"
    for each in imports(sources):
        own, target = floor(each.importer), floor(each.target)
        if own is not None and target is not None and target > own:
            yield f"{each.path}:{each.line}: floor {own} imports {each.target} of floor {target}"


def floor(name: str) -> int | None:
    """Return the floor of a module, None when it has none or is not ours."""
    package, _, below = name.partition(".")
    top = below.partition(".")[0] or "__init__"
    floors = (level for level, names in enumerate(FLOORS) if any(fnmatchcase(top, each) for each in names))
    return next(floors, None) if package == "forecourt" else None


def cyclic(sources: Sources) -> Iterator[str]:
    """Refuse modules that import each other, directly or through others, even inside functions."""
    graph: dict[str, set[str]] = {}
    for each in imports(sources):
        if each.package == "forecourt" and not each.typed:
            graph.setdefault(each.importer, set()).add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"a cycle of imports: {' -> '.join(reversed(error.args[1]))}; move what they share below them"


def dependent(sources: Sources) -> Iterator[str]:
    """Refuse a second importer of an optional package in one part, and a module elsewhere that needs it at once."""
    importers: dict[tuple[str, str], str] = {}
    found = list(imports(sources))
    for each in found:
        if each.package in sys.stdlib_module_names | REQUIRED | {"forecourt"}:
            continue
        where = f"{each.path}:{each.line}"
        if each.package not in OPTIONAL:
            yield f"{where}: {each.package} is neither required nor optional; name it in OPTIONAL"
        elif (first := importers.setdefault((each.package, part_of(each)), each.importer)) != each.importer:
            yield f"{where}: {each.package} is imported by {first} already; take it from there"
    for package, parts in OPTIONAL.items():
        for name in sorted(needing(package, found)):
            if not any(f"{name}.".startswith(f"{part}.") for part in parts):
                yield f"{name} cannot be imported without {package}; import it inside a function"


def part_of(each: Import) -> str:
    """Return the part that an import of an optional package counts for: its own, else the package's first."""
    parts = OPTIONAL[each.package]
    return next((part for part in parts if f"{each.importer}.".startswith(f"{part}.")), parts[0])


def needing(package: str, found: Iterable[Import]) -> set[str]:
    """Return the modules that import `package` as soon as they are imported, themselves or through others."""
    eager = [each for each in found if not each.lazy and not each.typed]
    needs = {each.importer for each in eager if each.package == package}
    while more := {each.importer for each in eager if needs & {each.target, *packages_around(each.target)}} - needs:
        needs |= more
    return needs


def pickling(sources: Sources) -> Iterator[str]:
    """Refuse pickles: whoever can write to the store could run code here."""
    for each in imports(sources):
        if each.package in PICKLES:
            yield f"{each.path}:{each.line}: {each.package} runs what it reads; write JSON"


def reaching_out(sources: Sources) -> Iterator[str]:
    """Refuse clock, network, disk and event loop in `core`: it decides on values."""
    for each in imports(sources):
        if each.importer.startswith("forecourt.core") and each.package in OUTSIDE:
            yield f"{each.path}:{each.line}: core imports {each.target}; take a value as an argument"


def untyped(sources: Sources) -> Iterator[str]:
    """Refuse `Any` in public signatures and attributes: it says nothing to a reader or a type checker."""
    for path, tree in trees(sources):
        for node in public(tree):
            if any(re.search(r"\bAny\b", each) for each in annotations(node)):
                yield f"{path}:{node.lineno}: {name_of(node)} says Any; name the type, or take object"


def undescribed(sources: Sources) -> Iterator[str]:
    """Refuse modules, public classes, functions, methods and tests without a docstring."""
    for path, tree in trees(sources):
        if sources[path] and not ast.get_docstring(tree):
            yield f"{path}:1: has no docstring; say what is in it"
        for node in public(tree):
            if not isinstance(node, Named) or node.name.startswith("__") or ast.get_docstring(node):
                continue
            if decorators(node).isdisjoint({"overload", "setter"}):
                yield f"{path}:{node.lineno}: {node.name} has no docstring; say what is true of it"


def oversized(sources: Sources) -> Iterator[str]:
    """Refuse files and functions that do not fit in a head."""
    for path, tree in trees(sources):
        most = TEST_FILE_LINES if "test_" in str(path) else FILE_LINES
        if (lines := sources[path].count("\n")) > most:
            yield f"{path}:1: {lines} lines, over {most}; part it by concept"
        for node in ast.walk(tree):
            if isinstance(node, Function) and (lines := extent(node)) > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines, over {FUNCTION_LINES}; part it"


def extent(node: Function) -> int:
    """Return how many lines a function has, from its `def` to its last."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def empty_words(sources: Sources) -> Iterator[str]:
    """Refuse names that fit anything: a "manager" could be any class."""
    for path, tree in trees(sources):
        named = [(node.lineno, node.name) for node in ast.walk(tree) if isinstance(node, Named)]
        for line, name in [(1, module_name(path).rpartition(".")[2]), *named]:
            if empty := words(name) & EMPTY_WORDS:
                yield f"{path}:{line}: {name}: {', '.join(empty)!r} fits anything; say what it is"


EVERYWHERE: tuple[Rule, ...] = (pickling, undescribed, oversized, empty_words)
IN_THE_PACKAGE: tuple[Rule, ...] = (climbing, cyclic, dependent, reaching_out, untyped, *EVERYWHERE)
