"""What mkdocs is told besides docs/: the README as the first page, the reference, the order, and the drawn flowchart.

The reference is made from what `forecourt` and `forecourt.testing` export, so that nothing public is left out. The
Mermaid flowchart of a request's way is drawn here, as boxes one below the other: Mermaid's own script would come from
another host. Once the site is built, no page may need another host, and the flowchart must be there whole.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import forecourt
import forecourt.db
import forecourt.testing
from forecourt.errors import ForecourtError
from forecourt.middleware import PolicyMiddleware
from forecourt.stack import ROWS

ROOT = Path(__file__).parent.parent.parent
MERMAID = re.compile(r"```mermaid\n(.*?)```\n", re.DOTALL)
BOX = re.compile(r'(\w+)(?:\(\[(.+?)\]\)|\["(.+?)"\]|\[(.+?)\])?')
"""A node of a flowchart: its name, and where it is there its label, round or in a box."""
NEEDED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=[\"']?(?:https?:)?//|<link\b[^>]*?\bhref=[\"']?(?:https?:)?//"
)
"""What a browser would fetch from another host to show a page; where links lead is not fetched."""
OUTSIDE = {"README.md": "index.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"} | {
    "CONTRIBUTING.md": "contributing.md"
}
"""Files beside docs/, and the pages that they become."""

ORDER = {
    "Start": ["index.md", "why.md", "tutorial.md", "examples.md", "glossary.md", "migrating/"],
    "Policies": ["policies.md", "config.md", "presets.md", "layers/"],
    "How to": [],
    "Operating": ["operating.md", "stores.md", "health.md", "live-config.md", "performance.md", "security.md"],
    "Reference": ["reference/"],
    "About": ["design.md", "changelog.md", "contributing.md"],
}
"""The pages of each section; one ending in a slash stands for all of that folder, an empty list for all the rest."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and put all of them in order."""
    for name, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, content=_linked(_text(name))))
    for uri, text in _reference():
        files.append(File.generated(config, uri, content=text))
    files.append(File.generated(config, "flow.css", abs_src_path=str(Path(__file__).with_name("flow.css"))))
    uris = sorted(file.src_uri for file in files.documentation_pages())
    config.nav = [{section: pages} for section, pages in _sections(uris).items()]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have links that leave docs/ lead to what those files become; draw flowcharts."""
    for name, uri in OUTSIDE.items():
        markdown = markdown.replace(f"](../{name})", f"]({uri})")
    return MERMAID.sub(lambda found: _drawn(found[1]), markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that needs another host, or without the whole way of a request."""
    pages = {path: path.read_text("utf-8") for path in Path(config.site_dir).rglob("*.html")}
    outside = [str(path) for path, text in pages.items() for each in NEEDED.findall(text)]
    if outside:
        raise PluginError(f"these pages need another host: {', '.join(sorted(set(outside)))}")
    drawn = pages[Path(config.site_dir) / "design.html"].partition('<ol class="flow">')[2].partition("</ol>")[0]
    missing = [row.name for row in ROWS if f"<b>{row.name}</b>" not in drawn]
    if missing:
        raise PluginError(f"design.html: the way of a request is drawn without {', '.join(missing)}")


def _text(name: str) -> str:
    """Return a file of the root; the changelog with what no version has yet."""
    text = (ROOT / name).read_text("utf-8")
    if name != "CHANGELOG.md":
        return text
    command = [sys.executable, str(ROOT / "scripts" / "changelog")]
    head, mark, older = text.partition("\n## ")
    next_one = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own script
    return f"{head.partition('; changes')[0]}.\n\n{next_one}{mark}{older}"


def _linked(text: str) -> str:
    """Return a page of the root with the links that it has from docs/."""
    for name, uri in OUTSIDE.items():
        text = text.replace(f"]({name})", f"]({uri})")
    return text.replace("](docs/", "](").replace('src="docs/', 'src="')


def _sections(uris: list[str]) -> dict[str, list[Any]]:
    """Return the pages of each section, in order; what no section names is how something is done."""
    placed = {section: [uri for place in places for uri in _of(place, uris)] for section, places in ORDER.items()}
    seen = {uri for pages in placed.values() for uri in pages}
    placed["How to"] = [uri for uri in uris if uri not in seen]
    return placed


def _of(place: str, uris: list[str]) -> list[str]:
    return [uri for uri in uris if uri == place or (place.endswith("/") and uri.startswith(place))]


def _drawn(flowchart: str) -> str:
    """Return a flowchart without branches as a list, which `flow.css` draws; PluginError where it is another."""
    head, *arrows = flowchart.splitlines()
    if head != "flowchart TD":
        raise PluginError(f"only a flowchart from top to bottom can be drawn, not {head!r}")
    labels: dict[str, str] = {}
    last = ""
    for arrow in arrows:
        ends = [BOX.fullmatch(end.strip()) for end in arrow.split("-->")]
        if len(ends) != 2 or ends[0] is None or ends[1] is None or last not in ("", ends[0][1]) or ends[1][1] in labels:
            raise PluginError(f"only one box after the other can be drawn, not {arrow!r}")
        for end in (ends[0], ends[1]):
            labels.setdefault(end[1], end[2] or end[3] or end[4] or end[1])
        last = ends[1][1]
    return "\n".join(['<ol class="flow">', *(f"<li>{label}</li>" for label in labels.values()), "</ol>", ""])


def _reference() -> Iterator[tuple[str, str]]:
    """Yield the pages of the reference: what each exported name is."""
    named = {name: getattr(forecourt, name) for name in sorted(forecourt.__all__, key=str.lower)}
    kinds: dict[str, list[str]] = {"policies": [], "middlewares": [], "errors": [], "code": []}
    for name, thing in named.items():
        kinds[_kind(thing)].append(f"forecourt.{name}")
    titles = {"policies": "Config and policies", "middlewares": "Middlewares", "errors": "Errors", "code": "In code"}
    for kind, names in kinds.items():
        told = [_model(name, named[name.partition(".")[2]]) if kind == "policies" else f"::: {name}" for name in names]
        yield f"reference/{kind}.md", _page(titles[kind], told)
    yield "reference/db.md", _page("forecourt.db", _exported(forecourt.db))
    yield "reference/testing.md", _page("forecourt.testing", _exported(forecourt.testing))


def _kind(thing: object) -> str:
    if isinstance(thing, type) and issubclass(thing, PolicyMiddleware):
        return "middlewares"
    if isinstance(thing, type) and issubclass(thing, ForecourtError):
        return "errors"
    return "policies" if isinstance(thing, type) and issubclass(thing, BaseModel) else "code"


def _exported(module: ModuleType) -> list[str]:
    return [f"::: {module.__name__}.{name}" for name in sorted(module.__all__, key=str.lower)]


def _page(title: str, parts: list[str]) -> str:
    return "\n\n".join([f"# {title}", *parts, ""])


def _model(name: str, model: type[BaseModel]) -> str:
    """Return what a model is, and its fields as a table: each with its type and default."""
    rows = [
        f"| `{field}` | {_code(_plain(told.annotation))} | {'' if told.is_required() else _code(_default(told))} |"
        for field, told in model.model_fields.items()
    ]
    table = ["| field | type | default |", "|---|---|---|", *rows]
    return "\n".join([f"::: {name}", "    options:", "      members: false", "", *table])


def _default(told: FieldInfo) -> str:
    made = told.get_default(call_default_factory=True)
    if isinstance(made, Mapping):
        return repr(dict(made))
    return f"{type(made).__name__}()" if isinstance(made, BaseModel) else repr(made)


def _code(text: str) -> str:
    return f"`{text}`"


def _plain(annotation: Any) -> str:
    """Spell a type as its user would, without what checks it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_plain(each) for each in arguments))
    if origin is Literal:
        return " or ".join(repr(each) for each in arguments)
    if origin is not None and arguments:
        inner = [_plain(each) if not isinstance(each, list) else "…" for each in arguments]
        return f"{getattr(origin, '__name__', origin)}[{', '.join(inner)}]"
    if annotation in (None, type(None)):
        return "None"
    return "…" if annotation is ... else getattr(annotation, "__name__", str(annotation))
