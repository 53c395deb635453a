"""JobConfig: where its fields come from, and what it keeps."""

import gc
import json
import weakref
from pathlib import Path

import pytest
from pydantic_settings import InitSettingsSource

from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.policies import EndpointPolicy, FixedWindow, FloodGuard

LIMIT = FixedWindow(limit=5, window=60)


@pytest.fixture(autouse=True)
def nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine's takes part."""
    for name in JobConfig.model_fields:
        monkeypatch.delenv(f"FORECOURT_{name.upper()}", raising=False)
    monkeypatch.delenv("FORECOURT_CONFIG", raising=False)


def written(folder: Path, **fields: object) -> Path:
    """Write a config file of these fields."""
    path = folder / "policies.json"
    path.write_text(json.dumps(fields))
    return path


def test_the_defaults() -> None:
    """A config that says nothing protects nothing, in this process."""
    config = JobConfig()
    assert (config.endpoints, config.default, config.store) == ({}, None, "memory://")
    assert (config.trusted_proxies, config.routes, config.key_functions) == ((), {}, {})
    assert (config.flood_guard, config.namespace, config.limit_headers, config.ipv6_prefix) == (
        None,
        "fc",
        "draft-11",
        64,
    )


def test_python_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each field is the one that the first of Python, environment and file gives."""
    path = written(tmp_path, store="redis://file", namespace="file", ipv6_prefix=48)
    monkeypatch.setenv("FORECOURT_STORE", "redis://environment")
    monkeypatch.setenv("FORECOURT_NAMESPACE", "environment")
    config = JobConfig.from_file(path, store="redis://python")
    assert (config.store, config.namespace, config.ipv6_prefix) == ("redis://python", "environment", 48)


def test_a_config_built_in_python_heeds_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python leaves out, the environment may give."""
    monkeypatch.setenv("FORECOURT_STORE", "redis://environment")
    monkeypatch.setenv("FORECOURT_NAMESPACE", "environment")
    config = JobConfig(endpoints={"a": EndpointPolicy()}, namespace="python")
    assert (config.store, config.namespace) == ("redis://environment", "python")


def test_fields_are_not_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field is taken whole: half a table of one source is not filled from another."""
    path = written(tmp_path, endpoints={"file": {}}, flood_guard={"limit": 1, "window": 1})
    config = JobConfig.from_file(path, endpoints={"python": EndpointPolicy()})
    assert list(config.endpoints) == ["python"]
    monkeypatch.setenv("FORECOURT_FLOOD_GUARD", '{"limit": 5}')
    with pytest.raises(ConfigError, match=r"^flood_guard\.window: must be given$"):
        JobConfig.from_file(path)
    monkeypatch.setenv("FORECOURT_ENDPOINTS", '{"environment": {}}')
    assert list(JobConfig(endpoints={"python": EndpointPolicy()}, flood_guard=None).endpoints) == ["python"]


def test_without_arguments_the_file_of_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`JobConfig()` reads what FORECOURT_CONFIG names; with arguments it does not."""
    monkeypatch.setenv("FORECOURT_CONFIG", str(written(tmp_path, store="redis://file", namespace="file")))
    monkeypatch.setenv("FORECOURT_NAMESPACE", "environment")
    config = JobConfig()
    assert (config.store, config.namespace) == ("redis://file", "environment")
    assert JobConfig(endpoints={}).store == "memory://"


def test_a_file_that_is_named_is_the_file_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`from_file` never falls back to FORECOURT_CONFIG, even for an empty file."""
    monkeypatch.setenv("FORECOURT_CONFIG", str(tmp_path / "absent.toml"))
    assert JobConfig.from_file(written(tmp_path)).endpoints == {}


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("FORECOURT_TRUSTED_PROXIES", "10.0.0.0/8, unix", "trusted_proxies", ("10.0.0.0/8", "unix")),
        ("FORECOURT_TRUSTED_PROXIES", '["10.0.0.0/8", "::1"]', "trusted_proxies", ("10.0.0.0/8", "::1/128")),
        ("FORECOURT_FLOOD_GUARD", '{"limit": 5, "window": 1}', "flood_guard", FloodGuard(limit=5, window=1)),
        ("FORECOURT_FLOOD_GUARD", "", "flood_guard", None),
        ("FORECOURT_IPV6_PREFIX", "48", "ipv6_prefix", 48),
        ("FORECOURT_LIMIT_HEADERS", "none", "limit_headers", "none"),
        ("FORECOURT_ROUTES", '{"a": "GET /a"}', "routes", {"a": "GET /a"}),
        ("FORECOURT_DEFAULT", '{"rate_limit": "off"}', "default", EndpointPolicy(rate_limit="off")),
    ],
)
def test_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object) -> None:
    """Text and numbers stand as they are, lists of text with commas or as JSON, all else as JSON."""
    monkeypatch.setenv(variable, text)
    assert getattr(JobConfig(), field) == value


def test_json_in_the_environment_must_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, and nothing of what it holds."""
    monkeypatch.setenv("FORECOURT_FLOOD_GUARD", "limit=5 hunter2")
    with pytest.raises(ConfigError) as caught:
        JobConfig()
    assert str(caught.value) == "FORECOURT_FLOOD_GUARD is not JSON: Expecting value: line 1 column 1 (char 0)"


def test_other_variables_of_the_prefix_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets FORECOURT_PORT for a service of that name; it is no unknown word."""
    monkeypatch.setenv("FORECOURT_PORT", "tcp://10.0.0.1:80")
    assert JobConfig().store == "memory://"


def test_one_field_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pydantic-settings wants it of each source, a field can be asked for by itself."""
    monkeypatch.setenv("FORECOURT_IPV6_PREFIX", "48")
    environment = JobConfig.settings_customise_sources(JobConfig, *[InitSettingsSource(JobConfig, {})] * 4)[1]
    fields = JobConfig.model_fields
    assert environment.get_field_value(fields["ipv6_prefix"], "ipv6_prefix") == ("48", "ipv6_prefix", False)
    assert environment.get_field_value(fields["store"], "store") == (None, "store", False)


def test_a_config_is_itself() -> None:
    """Two configs are never equal, a config can be a key, and it is forgotten with its last user."""
    config, other = JobConfig(), JobConfig()
    assert config == config
    assert config != other
    kept: weakref.WeakKeyDictionary[JobConfig, int] = weakref.WeakKeyDictionary({config: 1, other: 2})
    assert kept[config] == 1
    del config
    gc.collect()
    assert list(kept) == [other]


def test_a_config_cannot_be_changed() -> None:
    """Neither its fields nor its tables change, also not through the tables they were given in."""
    endpoints = {"a": EndpointPolicy(rate_limit=LIMIT)}
    config = JobConfig(endpoints=endpoints, routes={"a": "GET /a"}, key_functions={"org": str})
    endpoints["b"] = EndpointPolicy()
    assert list(config.endpoints) == ["a"]
    for table in (config.endpoints, config.routes, config.key_functions):
        with pytest.raises(TypeError):
            table["c"] = None  # type: ignore[index]  # the mistake under test
    with pytest.raises(ValueError, match="frozen"):
        setattr(config, "store", "memory://")  # noqa: B010 - the mistake under test


def test_a_password_is_never_shown() -> None:
    """Neither repr nor str of a config has the store's user, password or options."""
    config = JobConfig(store="rediss://user:hunter2@host:6379/0?ssl_keyfile=hunter3")
    for text in (repr(config), str(config), f"{config!r:.500}"):
        assert "hunter" not in text
        assert "rediss://***@host:6379/0?…" in text
    assert "namespace='fc', limit_headers='draft-11'" in repr(config)
    assert config.store == "rediss://user:hunter2@host:6379/0?ssl_keyfile=hunter3"


def test_an_error_carries_no_values() -> None:
    """The error of a config has no context from which a reporter could take a password."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(store="redsi://:hunter2@host")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "hunter2" not in str(caught.value)


def test_key_functions_are_words_of_key() -> None:
    """A limit may name a function of the config as its key; all limits of one name agree on it."""
    policy = EndpointPolicy(rate_limit=FixedWindow(limit=5, window=60, key="org"))
    config = JobConfig(endpoints={"a": policy}, key_functions={"org": str})
    assert config.key_functions["org"](5) == "5"


def test_policies_are_looked_up_by_name() -> None:
    """A config answers which policy holds for an endpoint, and None where no one says."""
    config = JobConfig(endpoints={"a": EndpointPolicy(rate_limit=LIMIT)})
    policy = config.policy_for("a")
    assert policy is not None
    assert policy.rate_limit == (LIMIT,)
    assert config.policy_for("b") is None
