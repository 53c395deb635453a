"""Config files: three formats, secrets, presets."""

import sys
from pathlib import Path

import pytest

from forecourt import config_file
from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.policies import Debounce, EndpointPolicy, FixedWindow, SlidingWindow, TokenBucket

TOML = """
store = "redis://localhost"
trusted_proxies = ["10.0.0.0/8"]
ipv6_prefix = 56

[flood_guard]
limit = 100
window = 1.5

[presets.slow]
rate_limit = {type = "fixed_window", limit = 1, window = 60}

[default]
preset = "slow"

["endpoints"."admin:*"]
rate_limit = [
    {type = "sliding_window", limit = 10, window = 60, exact = true},
    {type = "token_bucket", max_tokens = 5, refill_rate = 0.1, tiers = {gold = {max_tokens = 50}}},
]

[endpoints.search]
preset = "slow"
rate_limit = {type = "debounce", interval = 0.5}

[endpoints.health]
rate_limit = "off"
"""

YAML = """
store: redis://localhost
trusted_proxies: [10.0.0.0/8]
ipv6_prefix: 56
flood_guard: {limit: 100, window: 1.5}
presets:
  slow:
    rate_limit: {type: fixed_window, limit: 1, window: 60}
default:
  preset: slow
endpoints:
  admin:*:
    rate_limit:
      - {type: sliding_window, limit: 10, window: 60, exact: yes}
      - type: token_bucket
        max_tokens: 5
        refill_rate: 0.1
        tiers:
          gold: {max_tokens: 50}
  search:
    preset: slow
    rate_limit: {type: debounce, interval: 0.5}
  health:
    rate_limit: off
"""

JSON = """\ufeff{
  "store": "redis://localhost",
  "trusted_proxies": ["10.0.0.0/8"],
  "ipv6_prefix": 56,
  "flood_guard": {"limit": 100, "window": 1.5},
  "presets": {"slow": {"rate_limit": {"type": "fixed_window", "limit": 1, "window": 60}}},
  "default": {"preset": "slow"},
  "endpoints": {
    "admin:*": {"rate_limit": [
      {"type": "sliding_window", "limit": 10, "window": 60, "exact": true},
      {"type": "token_bucket", "max_tokens": 5, "refill_rate": 0.1, "tiers": {"gold": {"max_tokens": 50}}}
    ]},
    "search": {"preset": "slow", "rate_limit": {"type": "debounce", "interval": 0.5}},
    "health": {"rate_limit": "off"}
  }
}
"""


def file(folder: Path, name: str, text: str) -> Path:
    """Write a file."""
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def refusals(path: Path) -> list[str]:
    """Return the lines with which a file is refused, its folder left out."""
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_file(path)
    return [line.replace(str(path.parent) + "/", "") for line in caught.value.problems]


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.toml", TOML), ("p.yaml", YAML), ("p.yml", YAML), ("p.json", JSON), ("P.JSON", JSON)],
)
def test_all_formats_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    """One config, whatever it is written in; a byte order mark does no harm."""
    config = JobConfig.from_file(file(tmp_path, name, text))
    slow = FixedWindow(limit=1, window=60)
    assert config.endpoints == {
        "admin:*": EndpointPolicy(
            rate_limit=[
                SlidingWindow(limit=10, window=60, exact=True),
                TokenBucket(max_tokens=5, refill_rate=0.1, tiers={"gold": {"max_tokens": 50}}),
            ]
        ),
        "search": EndpointPolicy(rate_limit=Debounce(interval=0.5)),
        "health": EndpointPolicy(rate_limit="off"),
    }
    assert config.default == EndpointPolicy(rate_limit=slow)
    assert (config.store, config.trusted_proxies, config.ipv6_prefix) == (
        "redis://localhost",
        ("10.0.0.0/8",),
        56,
    )
    assert config.flood_guard is not None
    assert config.flood_guard.args() == (100, 1_500_000, 1, 0)


@pytest.mark.parametrize(("name", "text"), [("p.toml", ""), ("p.yaml", "# nothing\n"), ("p.json", "{}")])
def test_an_empty_file_is_an_empty_config(tmp_path: Path, name: str, text: str) -> None:
    """A file that says nothing is the defaults."""
    assert JobConfig.from_file(str(file(tmp_path, name, text))).endpoints == {}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("p.ini", "", 'config file "p.ini": its name must end in .toml, .yaml, .yml or .json'),
        (
            "p.toml",
            "store = hunter2",
            'config file "p.toml" cannot be understood: Invalid value (at line 1, column 9)',
        ),
        (
            "p.json",
            '{"store": hunter2}',
            'config file "p.json" cannot be understood: Expecting value: line 1 column 11 (char 10)',
        ),
        (
            "p.yaml",
            "store: [hunter2\nendpoints: x",
            "config file \"p.yaml\" cannot be understood: expected ',' or ']', but got ':' (at line 2, column 10)",
        ),
        ("p.yaml", "- hunter2", 'config file "p.yaml" must be a table of fields such as `endpoints`'),
        ("p.yaml", "5: x", 'config file "p.yaml" must be a table of fields such as `endpoints`'),
        (
            "p.json",
            '{"endpoints": {"a": {}, "b": {}, "a": {}}}',
            'config file "p.json" cannot be understood: "a" is given twice',
        ),
        (
            "p.yaml",
            "endpoints:\n  a: {}\n  a: {}\n",
            'config file "p.yaml" cannot be understood: "a" is given twice (at line 3, column 3)',
        ),
        (
            "p.toml",
            "[endpoints.a]\n[endpoints.a]\n",
            (
                'config file "p.toml" cannot be understood: '
                "Cannot declare ('endpoints', 'a') twice (at line 2, column 13)"
            ),
        ),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, line: str) -> None:
    """What is not the format, or says a thing twice, is refused by place, without its contents."""
    assert refusals(file(tmp_path, name, text)) == [line]


def test_a_file_must_be_there_and_be_text(tmp_path: Path) -> None:
    """A file that is absent, a folder or not UTF-8 is refused."""
    assert refusals(tmp_path / "p.toml") == ['config file "p.toml" cannot be read: No such file or directory']
    (tmp_path / "q.toml").mkdir()
    assert refusals(tmp_path / "q.toml") == ['config file "q.toml" cannot be read: Is a directory']
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    assert refusals(tmp_path / "r.toml") == ['config file "r.toml" is not UTF-8 text']


def test_yaml_needs_pyyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error says what to install; the other formats need nothing."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "forecourt.config_yaml", raising=False)
    assert refusals(file(tmp_path, "p.yaml", YAML)) == ['reading YAML needs PyYAML: pip install "forecourt[yaml]"']
    assert JobConfig.from_file(file(tmp_path, "p.toml", TOML)).ipv6_prefix == 56


def test_secrets_are_put_in_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:` and `file:` stand for a variable and for a file beside the config, wherever text stands."""
    monkeypatch.setenv("STORE_ADDRESS", "redis://:hunter2@host")
    monkeypatch.setenv("LIMIT", "7")
    (tmp_path / "secrets").mkdir()
    file(tmp_path / "secrets", "proxy", "10.0.0.1\r\n")
    path = file(
        tmp_path,
        "p.toml",
        """
        store = "env:STORE_ADDRESS"
        trusted_proxies = ["file:secrets/proxy"]
        [endpoints.a]
        rate_limit = {type = "fixed_window", limit = "env:LIMIT", window = 60, key = "header:X-Org"}
        """,
    )
    config = JobConfig.from_file(path)
    assert (config.store, type(config.store)) == ("redis://:hunter2@host", str)
    assert config.trusted_proxies == ("10.0.0.1/32",)
    assert config.endpoints["a"].rate_limit == FixedWindow(limit=7, window=60, key="header:X-Org")


def test_absent_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each secret that is not there is told, with its place in the config."""
    monkeypatch.delenv("NOT_THERE", raising=False)
    (tmp_path / "bytes").write_bytes(b"\xff")
    path = file(
        tmp_path,
        "p.toml",
        """
        store = "env:NOT_THERE"
        trusted_proxies = ["unix", "file:absent"]
        routes = {a = "file:bytes"}
        """,
    )
    assert refusals(path) == [
        "store: environment variable NOT_THERE is not set",
        'trusted_proxies[1]: file "absent" cannot be read: No such file or directory',
        'routes."a": file "bytes" is not UTF-8 text',
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            'store = "env:SECRET"',
            "store: is not an address such as redis://localhost:6379/0",
        ),
        (
            'store = "env:ADDRESS"',
            'store: the value of env:ADDRESS is not allowed: its scheme is unknown; did you mean "redis"?',
        ),
        (
            'namespace = "env:SECRET"',
            "namespace: the value of env:SECRET is not allowed: must be 1 to 32 letters, digits, _ or -",
        ),
        (
            'limit_headers = "env:SECRET"',
            "limit_headers: the value of env:SECRET is not allowed: must be 'draft-11', 'legacy', 'both' or 'none'",
        ),
        ('ipv6_prefix = "env:SECRET"', "ipv6_prefix: the value of env:SECRET is not allowed: must be a whole number"),
        (
            'trusted_proxies = ["env:SECRET", "env:NETWORK"]',
            (
                "trusted_proxies[0]: the value of env:SECRET is not allowed: "
                'must be an address, a network such as 10.0.0.0/8, or "unix"\n'
                "trusted_proxies[1]: the value of env:NETWORK is not allowed: "
                'must be an address, a network such as 10.0.0.0/8, or "unix"'
            ),
        ),
        (
            'flood_guard = "env:SECRET"',
            "flood_guard: the value of env:SECRET is not allowed: must be a FloodGuard, in files a table of its fields",
        ),
        (
            'endpoints.a.rate_limit = {type = "fixed_window", limit = 1, window = "env:SECRET"}',
            'endpoints."a".rate_limit.window: the value of env:SECRET is not allowed: must be a number of seconds',
        ),
        (
            'endpoints.a.rate_limit = {type = "fixed_window", limit = 1, window = 1, key = "env:SECRET"}',
            (
                'endpoints."a".rate_limit.key: the value of env:SECRET is not allowed: '
                "must be principal, client, tenant, endpoint, header:NAME or a name in key_functions"
            ),
        ),
        (
            'endpoints.a.preset = "env:SECRET"',
            'endpoints."a".preset: the value of env:SECRET is not allowed: must name a preset',
        ),
    ],
)
def test_a_wrong_secret_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: str) -> None:
    """A secret in a place where its value is not allowed is told by its origin."""
    monkeypatch.setenv("SECRET", "hunter2!")
    monkeypatch.setenv("ADDRESS", "redsi://hunter2")
    monkeypatch.setenv("NETWORK", "10.0.0.1/8")
    assert "\n".join(refusals(file(tmp_path, "p.toml", text))) == line


def test_an_endpoint_overrides_whole_fields_of_its_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of the endpoint replaces the preset's; one of the file's presets replaces one of ours."""
    ours = {"slow": {"rate_limit": "off"}, "fast": {"rate_limit": "off"}}
    monkeypatch.setattr(config_file, "PRESETS", ours)
    path = file(
        tmp_path,
        "p.toml",
        """
        [presets.slow]
        rate_limit = {type = "fixed_window", limit = 1, window = 60}
        [endpoints]
        own = {preset = "slow", rate_limit = {type = "fixed_window", limit = 2, window = 1}}
        theirs = {preset = "slow"}
        ours = {preset = "fast"}
        none = {}
        """,
    )
    endpoints = JobConfig.from_file(path).endpoints
    assert endpoints["own"].rate_limit == FixedWindow(limit=2, window=1)
    assert endpoints["theirs"].rate_limit == FixedWindow(limit=1, window=60)
    assert endpoints["ours"].rate_limit == "off"
    assert endpoints["none"].rate_limit is None


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("presets = 5", ["presets: 5 is not allowed: must be a table of presets"]),
        (
            "presets.slow = 5",
            ['presets."slow": 5 is not allowed: must be an EndpointPolicy, in files a table of its fields'],
        ),
        (
            'presets.slow.rate_limit = "of"\nendpoints.a.preset = "slow"\nendpoints.b.preset = "slow"',
            [
                (
                    'presets."slow".rate_limit: "of" is not allowed: must be a limit, a list of limits, or "off"; '
                    'did you mean "off"?'
                )
            ],
        ),
        ('presets.slow.preset = "slow"', ['presets."slow".preset: a preset cannot build on another']),
        (
            'presets.slow = {}\nendpoints.a.preset = "slwo"\ndefault.preset = 5',
            [
                'endpoints."a".preset: "slwo" is not allowed: must name a preset; did you mean "slow"?',
                "default.preset: 5 is not allowed: must name a preset",
            ],
        ),
        ("endpoints = 5", ["endpoints: 5 is not allowed: must be a table"]),
        (
            "endpoints.a = 5",
            ['endpoints."a": 5 is not allowed: must be an EndpointPolicy, in files a table of its fields'],
        ),
        ("prests = {}", ['prests: unknown word; did you mean "presets"?']),
    ],
)
def test_wrong_presets(tmp_path: Path, text: str, lines: list[str]) -> None:
    """A preset is told wrong once, where it stands; a name that no preset has, with the nearest that one has."""
    assert refusals(file(tmp_path, "p.toml", text)) == lines


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ('[[issuers]]\nissuer = "a"\naudience = "a"\nsecret = "SECRET"', "issuers[0].secret"),
        ('[[issuers]]\nissuer = "a"\naudience = "a"\nkeys = [{kty = "oct", k = "SECRET"}]', "issuers[0].keys[0].k"),
        ('[[issuers]]\nissuer = "a"\naudience = "a"\nkeys = "-----BEGIN PRIVATE KEY-----SECRET"', "issuers[0].keys"),
        ('[introspection]\nclient_secret = "SECRET"', "introspection.client_secret"),
        ('[api_keys]\npepper = "SECRET"', "api_keys.pepper"),
    ],
)
def test_a_secret_does_not_stand_in_a_file(tmp_path: Path, table: str, place: str) -> None:
    """ConfigError names its place and the two ways to give it, and does not show it."""
    path = tmp_path / "policies.toml"
    path.write_text(table.replace("SECRET", "x" * 40))
    with pytest.raises(ConfigError) as raised:
        JobConfig.from_file(path)
    assert f'{place}: inline text is not allowed: must be "env:NAME" or "file:path"' in str(raised.value)
    assert "xxxx" not in str(raised.value)


def test_a_secret_comes_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a variable or a file; in Python any text is one."""
    monkeypatch.setenv("SHARED", "v" * 40)
    (tmp_path / "shared").write_text("f" * 40)
    path = tmp_path / "policies.toml"
    for secret, read in (("env:SHARED", "v" * 40), ("file:shared", "f" * 40)):
        path.write_text(f'[[issuers]]\nissuer = "a"\naudience = "a"\nsecret = "{secret}"')
        assert JobConfig.from_file(path).issuers[0].secret == read
    inline = {"issuer": "a", "audience": "a", "secret": "p" * 40}
    assert JobConfig(endpoints={}, issuers=[inline]).issuers[0].secret == "p" * 40  # type: ignore[list-item]  # as a table
