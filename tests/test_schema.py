"""The JSON Schema of a policy file: current, valid, and of one mind with what reads the file."""

import functools
import json
import tomllib
from pathlib import Path

import jsonschema_rs
import pydantic
import pytest

from forecourt.cli import main
from forecourt.config import JobConfig
from forecourt.policies import presets
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.schema import PATH, schema, text
from tests import test_docs
from tests.documented.blocks import Block


@functools.cache
def validator() -> jsonschema_rs.Validator:
    """Return what validates policy files as editors do."""
    return jsonschema_rs.validator_for(schema())


@pytest.mark.skipif(
    tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 14), reason="an older pydantic writes numbers in another way"
)
def test_the_published_schema_is_current() -> None:
    """The file in the package is what the models say; `forecourt schema > src/forecourt/policies.schema.json`."""
    assert PATH.read_text("utf-8") == text()


def test_it_is_a_schema() -> None:
    """It keeps to its dialect."""
    jsonschema_rs.meta.validate(schema())


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is, or where the package has it."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == text()
    assert main(["schema", "--path"]) == 0
    assert Path(capsys.readouterr().out.strip()).samefile(PATH)


def test_every_field_is_described() -> None:
    """All fields of a file and of an endpoint are there, and `preset` with them; what only Python gives is not."""
    made = schema()
    fields = made["properties"]
    models = made["$defs"]
    assert isinstance(fields, dict)
    assert isinstance(models, dict)
    python_only = {"authenticators", "key_functions", "on_decision"}
    assert set(fields) == {*JobConfig.model_fields, "presets"} - python_only
    assert set(models["EndpointPolicy"]["properties"]) == {*EndpointPolicy.model_fields, "preset"}
    assert all({"type", "anyOf", "$ref", "enum"} & set(each) for each in fields.values())


OWN = 'type = "lockout"'
"""A strategy of one's own, which the published schema does not know."""


@pytest.mark.parametrize("block", test_docs.fenced("toml"))
def test_policy_files_of_the_docs_keep_to_it(block: Block) -> None:
    """What the reader takes, the schema takes."""
    table = json.loads(json.dumps(tomllib.loads(block.text), default=str))
    if test_docs.OF_A_POLICY_FILE & table.keys() and OWN not in block.text:
        assert [each.message for each in validator().iter_errors(table)] == []


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_presets_keep_to_it(preset: str) -> None:
    """The presets of the package are policies of a file."""
    validator().validate({"default": {**presets.PRESETS[preset]}, "presets": {"own": {**presets.PRESETS[preset]}}})


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"cache_memory": "env:BYTES", "keys": ["env:KEY"], "store": "env:STORE"},
        {"default": {"preset": "db", "rate_limit": "off"}},
        {"default": {"max_body": 10}, "endpoints": {"x": {"max_body": {"size": 10}}}},
        {
            "default": {
                "rate_limit": [{"type": "fixed_window", "limit": 1, "window": 1.5, "tiers": {"a": {"limit": 2}}}]
            }
        },
    ],
)
def test_what_is_right_passes(right: dict[str, object]) -> None:
    """Files as people write them, secrets and numbers from elsewhere among them."""
    validator().validate(right)


@pytest.mark.parametrize(
    "wrong",
    [
        {"defualt": {}},
        {"default": {"rate_limits": "off"}},
        {"default": {"rate_limit": "on"}},
        {"default": {"rate_limit": {"limit": 1, "window": 1}}},
        {"default": {"rate_limit": {"type": "fixed_window", "limit": "many", "window": 1}}},
        {"default": {"security": {"scopes": ["a"], "rolls": ["b"]}}},
        {"endpoints": {"x": {"priority": "urgent"}}},
        {"on_decision": "print"},
        {"store": 5},
    ],
)
def test_what_is_wrong_is_marked(wrong: dict[str, object]) -> None:
    """A misspelt word, a missing type, a wrong kind of value: an editor shows it where it stands."""
    assert not validator().is_valid(wrong)
