"""A config file: TOML, YAML or JSON by its suffix, with secrets and presets put in their places.

Any text `env:NAME` or `file:PATH` (relative to the config file) stands for that variable's or file's value,
which no message ever shows. A field that holds a secret takes nothing else: a file is shown, copied and kept with the
code. A table `[presets.NAME]` holds fields of an endpoint policy; an endpoint that says
`preset = "NAME"` has them, except those it gives itself.
"""

import json
import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from forecourt.errors import ConfigError
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.presets import PRESETS
from forecourt.policies.wording import Place, nearest, not_allowed, problems, spelt

Table = dict[str, object]

_SECRETS = {
    "issuers": frozenset({"secret", "k", "d"}),
    "introspection": frozenset({"client_secret"}),
    "api_keys": frozenset({"pepper"}),
}
"""Fields that hold secrets, by the field of the config that they are in; `k` and `d` are those of a JWK."""

_INLINE = 'inline text is not allowed: must be "env:NAME" or "file:path"; secrets do not stand in a config file'


class Secret(str):
    """Text from a variable or a file; `repr` shows where it came from, never what it is."""

    __slots__ = ("origin",)

    origin: str

    def __new__(cls, text: str, origin: str) -> "Secret":
        """Keep the text, and where it came from."""
        secret = super().__new__(cls, text)
        secret.origin = origin
        return secret

    def __repr__(self) -> str:
        return f"the value of {self.origin}"


class Document(NamedTuple):
    """The text of a config file, and its name, whose suffix says how to read it."""

    name: str
    text: str

    def checked(self) -> "Document":
        """Return this, where its name says how to read it; ConfigError otherwise."""
        if Path(self.name).suffix.lower() not in _PARSERS:
            raise ConfigError(f'config file "{self.name}": its name must end in .toml, .yaml, .yml or .json')
        return self


def read(path: Path) -> Table:
    """Return the fields of `JobConfig` that a file gives; ConfigError says why it cannot be read."""
    return read_document(opened(path), path.parent)


def opened(path: Path) -> Document:
    """Return a file's text; ConfigError says why it cannot be had."""
    name = f'config file "{path}"'
    try:
        return Document(str(path), "").checked()._replace(text=path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8 text") from None


def read_document(document: Document, folder: Path) -> Table:
    """Return the fields that a document gives; `folder` is where its `file:` paths begin."""
    wrong: list[str] = []
    fields = {word: _revealed(value, (word,), folder, wrong) for word, value in written(document).items()}
    if wrong:
        raise ConfigError(*wrong)
    presets = fields.pop("presets", {})
    return _with_presets(fields, presets)


def written(document: Document) -> Table:
    """Return what stands in a document, secrets and presets not yet in their places."""
    name = f'config file "{document.name}"'
    try:
        table = _PARSERS[Path(document.name).suffix.lower()](document.text)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be understood: {error}") from None
    if table is None:
        return {}
    if not isinstance(table, dict) or not all(isinstance(word, str) for word in table):
        raise ConfigError(f"{name} must be a table of fields such as `endpoints`")
    return table


def _json(text: str) -> object:
    def once(pairs: Sequence[tuple[str, object]]) -> Table:
        words = [word for word, _ in pairs]
        twice = next((word for position, word in enumerate(words) if word in words[:position]), None)
        if twice is not None:
            raise ValueError(f'"{twice}" is given twice')
        return dict(pairs)

    return json.loads(text, object_pairs_hook=once)


def _yaml(text: str) -> object:
    try:
        from forecourt.config_yaml import load  # noqa: PLC0415 - PyYAML is an extra
    except ImportError:
        raise ConfigError('reading YAML needs PyYAML: pip install "forecourt[yaml]"') from None
    return load(text)


_PARSERS: dict[str, Callable[[str], object]] = {
    ".toml": tomllib.loads,
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _revealed(value: object, place: Place, folder: Path, wrong: list[str]) -> object:
    """Return a value with its secrets in place; what cannot be is noted in `wrong`."""
    if isinstance(value, list):
        return [_revealed(each, (*place, position), folder, wrong) for position, each in enumerate(value)]
    if isinstance(value, dict):
        wrong += [f"{spelt(place)}: {not_allowed(key, 'keys must be text')}" for key in value if type(key) is not str]
        return {str(key): _revealed(each, (*place, str(key)), folder, wrong) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    if _is_inline_secret(value, place):
        wrong.append(f"{spelt(place)}: {_INLINE}")
        return value
    try:
        return _secret(value, folder)
    except ConfigError as error:
        wrong.append(f"{spelt(place)}: {error}")
        return value


def _is_inline_secret(text: str, place: Place) -> bool:
    if text.startswith(("env:", "file:")):
        return False
    return place[-1] in _SECRETS.get(str(place[0]), ()) or (place[0] == "issuers" and "PRIVATE KEY-----" in text)


def _secret(text: str, folder: Path) -> str:
    kind, separator, name = text.partition(":")
    if not separator:
        return text
    if kind == "env":
        if name not in os.environ:
            raise ConfigError(f"environment variable {name} is not set")
        return Secret(os.environ[name], text)
    if kind == "file":
        return Secret(_contents(folder / name), text)
    return text


def _contents(path: Path) -> str:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f'file "{path}" cannot be read: {error.strerror}') from None
    except UnicodeDecodeError:
        raise ConfigError(f'file "{path}" is not UTF-8 text') from None


def _with_presets(fields: Table, presets: object) -> Table:
    """Return the fields with each endpoint policy that names a preset filled from it."""
    if not isinstance(presets, dict):
        raise ConfigError(f"presets: {not_allowed(presets, 'must be a table of presets')}")
    wrong = [line for name, preset in presets.items() for line in _wrong_in_preset(name, preset)]
    known = {**PRESETS, **presets}

    def filled(policy: object, place: Place) -> object:
        if not isinstance(policy, dict) or "preset" not in policy:
            return policy
        own = {word: value for word, value in policy.items() if word != "preset"}
        name = policy["preset"]
        if isinstance(name, str) and name in known:
            return {**known[name], **own}
        guess = nearest(name, known) if isinstance(name, str) else ""
        wrong.append(f"{spelt((*place, 'preset'))}: {not_allowed(name, 'must name a preset')}{guess}")
        return own

    endpoints = fields.get("endpoints")
    if isinstance(endpoints, dict):
        filled_in = {name: filled(policy, ("endpoints", name)) for name, policy in endpoints.items()}
        fields = {**fields, "endpoints": filled_in}
    if "default" in fields:
        fields = {**fields, "default": filled(fields["default"], ("default",))}
    if wrong:
        raise ConfigError(*wrong)
    return fields


def _wrong_in_preset(name: str, preset: object) -> list[str]:
    if isinstance(preset, dict) and "preset" in preset:
        return [f"{spelt(('presets', name, 'preset'))}: a preset cannot build on another"]
    try:
        EndpointPolicy.model_validate(preset)
    except ValidationError as error:
        return problems(error, ("presets", name))
    return []
