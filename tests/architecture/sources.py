"""What the rules ask of Python sources: which module imports which, what is public, which words a name has.

Sources map paths below `src` ("forecourt/core/leases.py") to texts; nothing is imported.
"""

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Sources = Mapping[str, str]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Named = Function | ast.ClassDef
Importing = ast.Import | ast.ImportFrom | ast.Call
Placed = tuple[Importing, bool, bool]


class Import(NamedTuple):
    """One import: who, whom, where; `lazy` inside a function, `typed` for type checkers only."""

    path: str
    importer: str
    target: str
    line: int
    lazy: bool
    typed: bool

    @property
    def package(self) -> str:
        """The target's first word: "yaml" of yaml.constructor."""
        return self.target.partition(".")[0]


def trees(sources: Sources) -> Iterator[tuple[str, ast.Module]]:
    """Yield each path with its syntax tree."""
    for path, text in sources.items():
        yield path, _parsed(text, path)


_parsed = functools.cache(ast.parse)


def module_name(path: str) -> str:
    """Return the dotted name of the module at this path: "forecourt/core/__init__.py" is forecourt.core."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def packages_around(name: str) -> Iterator[str]:
    """Yield the packages that a module lies in; importing it imports them first."""
    while name := name.rpartition(".")[0]:
        yield name


def imports(sources: Sources) -> Iterator[Import]:
    """Yield every import of these sources; `from a import b` is of a.b where that is a module, else of a."""
    modules = {module_name(path) for path in sources}
    for path, tree in trees(sources):
        importer = module_name(path)
        package = importer if path.endswith("__init__.py") else importer.rpartition(".")[0]
        for node, lazy, typed in _importing(tree):
            for target in _targets(node, package, modules):
                yield Import(path, importer, target, node.lineno, lazy, typed)


def _importing(node: ast.AST, lazy: bool = False, typed: bool = False) -> Iterator[Placed]:
    """Yield the import statements and calls below a node, whether in a function, whether for types only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Importing):
            yield child, lazy, typed
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _importing(ast.Module(child.body, []), lazy, True)
            yield from _importing(ast.Module(child.orelse, []), lazy, typed)
        else:
            yield from _importing(child, lazy or isinstance(child, Function), typed)


def _targets(node: Importing, package: str, modules: set[str]) -> Iterator[str]:
    """Yield the modules that one statement, or one call of import_module with a literal, imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        around = parts[: len(parts) + 1 - node.level] if node.level else []
        source = ".".join([*around, *([node.module] if node.module else [])])
        for alias in node.names:
            yield each if (each := f"{source}.{alias.name}") in modules else source
    elif {getattr(node.func, "id", ""), getattr(node.func, "attr", "")} & {"__import__", "import_module"}:
        yield from (str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant))


def public(node: ast.Module | ast.ClassDef) -> Iterator[Named | ast.AnnAssign]:
    """Yield what users see: classes, functions, methods and annotated names, special ones included."""
    for child in node.body:
        if isinstance(child, Named | ast.AnnAssign) and not re.match("_(?!_.*__$)", name_of(child)):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


def name_of(node: Named | ast.AnnAssign) -> str:
    """Return the name that a definition or annotated assignment gives."""
    return ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else node.name


def annotations(node: Named | ast.AnnAssign) -> Iterator[str]:
    """Yield the annotations of a definition itself, as text."""
    found: list[ast.expr | None] = []
    if isinstance(node, ast.AnnAssign):
        found = [node.annotation]
    elif isinstance(node, Function):
        arguments = (each for each in ast.walk(node.args) if isinstance(each, ast.arg))
        found = [node.returns, *(argument.annotation for argument in arguments)]
    yield from (ast.unparse(each) for each in found if each)


def decorators(node: Named) -> set[str]:
    """Return the last words of a definition's decorators: {"setter"} for `@limit.setter`."""
    return {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}


def words(name: str) -> set[str]:
    """Return the words of a name in lower case: LockManager and lock_manager have the same two."""
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))
