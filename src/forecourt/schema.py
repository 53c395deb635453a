"""The JSON Schema of a policy file, for editors: which words there are, what they take, what they mean.

It is generated from the models that read the file, and lies in the package as `policies.schema.json`. It is a little
wider than the models: what they check beyond types (a cost above a limit, say) is told at startup. What only Python can
give is left out; `preset` and `[presets]`, which only files have, are put in, and so is `env:NAME` for a number.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from forecourt.config import JobConfig
from forecourt.policies.presets import PRESETS

PATH = Path(__file__).with_name("policies.schema.json")
"""Where it lies in the package."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PYTHON_ONLY = frozenset({"authenticators", "key_functions", "on_decision"})

_STRATEGIES = ("TokenBucket", "FixedWindow", "SlidingWindow", "Throttle", "Debounce")
"""Models whose `type` a file must say."""

_POLICY = {"$ref": "#/$defs/EndpointPolicy"}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_KEYS = {"anyOf": [{"type": ["string", "object"]}, {"type": "array", "items": {"type": ["string", "object"]}}]}

_IN_FILES: Mapping[str, Mapping[str, object]] = {
    "store": _TEXT,
    "cache_store": _TEXT,
    "namespace": _TEXT,
    "trusted_proxies": _TEXTS,
    "queues": {"type": "object", "additionalProperties": _TEXT},
    "audit_log": _TEXT,
    "keys": {"anyOf": [_TEXT, _TEXTS]},
    "presets": {"type": "object", "additionalProperties": _POLICY, "description": "Policies that endpoints may name."},
}
"""What a file may say where a validator is a function, and says no type."""

Schema = dict[str, object]


def schema() -> Schema:
    """Return the schema, as JSON values."""
    made = json.loads(json.dumps(_with_references(JobConfig.model_json_schema())), object_hook=_ordered)
    fields, models = made["properties"], made["$defs"]
    for name in _PYTHON_ONLY:
        del fields[name]
    for name, told in _IN_FILES.items():
        fields[name] = {**fields.get(name, {}), **told}
    for name in _STRATEGIES:
        models[name]["required"].append("type")
    models["Issuer"]["properties"]["keys"] |= _KEYS
    models["Issuer"]["properties"]["algorithms"] |= _TEXTS
    own = f"A preset of the file, or one of {', '.join(PRESETS)}; fields beside it replace its own."
    models["EndpointPolicy"]["properties"]["preset"] = {"type": "string", "description": own}
    return {"$schema": _DIALECT, **made, "title": "A policy file of forecourt"}


def text() -> str:
    """Return the schema as the file holds it."""
    return json.dumps(schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _with_references(value: object) -> object:
    """Let `env:NAME` and `file:PATH` stand for numbers; for text they do already."""
    if isinstance(value, list):
        return [_with_references(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: _with_references(each) for name, each in value.items()}
    if made.get("type") in ("integer", "number"):
        made |= {"type": [made["type"], "string"], "pattern": "^(env|file):."}
    return made


def _ordered(table: dict[str, object]) -> dict[str, object]:
    """Return a table whose default, where it is a list of words, is in order: a set has another in each process."""
    default = table.get("default")
    if isinstance(default, list) and all(isinstance(each, str | int) for each in default):
        return {**table, "default": sorted(default, key=str)}
    return table
