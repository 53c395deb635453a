"""Wrong configs, each by the full text that its operator reads."""

from pathlib import Path

import pytest

from forecourt.config import LATER, JobConfig
from forecourt.errors import ConfigError

pytestmark = pytest.mark.usefixtures("packaged_only")

BUCKET = {"type": "token_bucket", "max_tokens": 5, "refill_rate": 1}
WINDOW = {"type": "fixed_window", "limit": 5, "window": 60}
SLIDING = {"type": "sliding_window", "limit": 5, "window": 60}
THROTTLE = {"type": "throttle", "rate": 5}
DEBOUNCE = {"type": "debounce", "interval": 5}

KEYS = "must be principal, client, tenant, endpoint, header:NAME or a name in key_functions"
TYPES = "must be token_bucket or fixed_window or sliding_window or throttle or debounce"
AT = 'endpoints."get_record".rate_limit'


async def waiting(exchange: object) -> str:
    """Be a key function that would have to be awaited."""
    return str(exchange)


WRONG_LIMITS: list[tuple[object, str]] = [
    ({**BUCKET, "max_tokens": -1}, f"{AT}.max_tokens: -1 is not allowed: must be greater than 0"),
    ({**BUCKET, "max_tokens": 1.5}, f"{AT}.max_tokens: 1.5 is not allowed: must be a whole number"),
    ({**BUCKET, "refill_rate": 0}, f"{AT}.refill_rate: 0 is not allowed: must be greater than 0"),
    ({**BUCKET, "refill_rate": "1/s"}, f'{AT}.refill_rate: "1/s" is not allowed: must be a number'),
    ({**BUCKET, "refil_rate": 1}, f'{AT}.refil_rate: unknown word; did you mean "refill_rate"?'),
    ({"type": "token_bucket", "max_tokens": 5}, f"{AT}.refill_rate: must be given"),
    (
        {**BUCKET, "max_tokens": 10**10},
        (
            f"{AT}.max_tokens: 10000000000 is not allowed: "
            "must be at most 4503599627 at a refill_rate of 1, to be counted exactly"
        ),
    ),
    (
        {**BUCKET, "cost": 6},
        f"{AT}.cost: 6 is not allowed: must be at most max_tokens (5), or no call can ever pass",
    ),
    (
        {**BUCKET, "cost": 5, "tiers": {"free": {"max_tokens": 4}}},
        f'{AT}.tiers."free".cost: 5 is not allowed: must be at most max_tokens (4), or no call can ever pass',
    ),
    (
        {**BUCKET, "tiers": {"gold": {"max_token": 9}}},
        f'{AT}.tiers."gold".max_token: unknown word; did you mean "max_tokens"?',
    ),
    (
        {**BUCKET, "tiers": {"gold": {"shadow": True}}},
        f'{AT}.tiers."gold".shadow: a tier may change only max_tokens and refill_rate',
    ),
    ({**WINDOW, "limit": 0}, f"{AT}.limit: 0 is not allowed: must be greater than 0"),
    ({**WINDOW, "window": 0}, f"{AT}.window: 0 is not allowed: must be greater than 0"),
    ({**WINDOW, "window": "1m"}, f'{AT}.window: "1m" is not allowed: must be a number of seconds'),
    ({**WINDOW, "key": "prinzipal"}, f'{AT}.key: "prinzipal" is not allowed: {KEYS}; did you mean "principal"?'),
    ({**WINDOW, "key": "header:"}, f'{AT}.key: "header:" is not allowed: must name a header, as in header:X-Org'),
    ({**WINDOW, "key": "og"}, f'{AT}.key: "og" is not allowed: {KEYS}; did you mean "org"?'),
    (
        {**WINDOW, "count": "fail"},
        (
            f"{AT}.count: \"fail\" is not allowed: must be 'request', 'connect', 'message' or 'failure'"
            '; did you mean "failure"?'
        ),
    ),
    (
        {**WINDOW, "on_store_error": "close"},
        f"{AT}.on_store_error: \"close\" is not allowed: must be 'local', 'open' or 'closed'; did you mean \"closed\"?",
    ),
    (
        {**WINDOW, "local_share": 2},
        f"{AT}.local_share: 2 is not allowed: must be greater than 0 and at most 1",
    ),
    ({**WINDOW, "batch": 2}, f'{AT}.batch: 2 is not allowed: must be 1 unless key is "endpoint"'),
    (
        {**WINDOW, "batch": 6, "key": "endpoint"},
        f"{AT}.batch: 6 is not allowed: must be at most 5, so that limit (5) can give a batch of cost 1",
    ),
    ({**WINDOW, "name": "a/b"}, f'{AT}.name: "a/b" is not allowed: must be 1 to 64 letters, digits, _, . or -'),
    ({**WINDOW, "exact": True}, f"{AT}.exact: unknown word; known are {{window}}"),
    (
        {**SLIDING, "limit": 2000, "exact": True},
        f"{AT}.limit: 2000 is not allowed: must be at most 1000, as every call is kept; say exact=False to count them",
    ),
    (
        {**SLIDING, "limit": 10**6, "window": 86_400},
        (
            f"{AT}.limit: 1000000 is not allowed: must be at most 52124 in a window of 86400 seconds, "
            "to be counted exactly"
        ),
    ),
    (
        {**THROTTLE, "count": "failure"},
        f'{AT}.count: "failure" is not allowed: time that has passed cannot be given back',
    ),
    ({**THROTTLE, "max_delay": -1}, f"{AT}.max_delay: -1 is not allowed: must be 0 or more"),
    ({**DEBOUNCE, "max_wait": 4}, f"{AT}.max_wait: 4 is not allowed: must be at least the interval, 5"),
    (
        {**DEBOUNCE, "edge": "trailing", "count": "message"},
        f'{AT}.count: "message" is not allowed: must be "request" with edge="trailing"',
    ),
    (
        {**DEBOUNCE, "edge": "last"},
        f"{AT}.edge: \"last\" is not allowed: must be 'leading' or 'trailing'",
    ),
    ({**DEBOUNCE, "cost": 2}, f"{AT}.cost: 2 is not allowed: must be 1: a debounce counts nothing"),
    ({"limit": 5, "window": 60}, f"{AT}.type: must be given: fixed_window or sliding_window"),
    (
        {**SLIDING, "type": "sliding"},
        f'{AT}.type: "sliding" is not allowed: {TYPES}; did you mean "sliding_window"?',
    ),
    ("on", f'{AT}: "on" is not allowed: must be a limit, a list of limits, or "off"'),
    (100, f'{AT}: 100 is not allowed: must be a limit, a list of limits, or "off"'),
    (
        [BUCKET, {**WINDOW, "limit": True}],
        f"{AT}[1].limit: true is not allowed: must be a whole number",
    ),
    (
        [{**BUCKET, "name": "a"}, {**WINDOW, "name": "a"}],
        f'{AT}[1].name: "a" is not allowed: another limit of this endpoint has this name',
    ),
]

WINDOW_WORDS = "key, cost, name, tiers, count, on_store_error, local_share, batch, shadow, type, limit, window"


@pytest.mark.parametrize(("limit", "line"), WRONG_LIMITS, ids=range(len(WRONG_LIMITS)))
def test_wrong_limits(limit: object, line: str) -> None:
    """One wrong word in a limit is one line, that names endpoint, field, value and what is right."""
    with pytest.raises(ConfigError) as caught:
        JobConfig.model_validate({"endpoints": {"get_record": {"rate_limit": limit}}, "key_functions": {"org": str}})
    assert str(caught.value) == line.replace("{window}", WINDOW_WORDS)


WRONG_CONFIGS: list[tuple[dict[str, object], str]] = [
    ({"endpoint": {}}, 'endpoint: unknown word; did you mean "endpoints"?'),
    (
        {"databases": {"main": 7}},
        'databases."main": 7 is not allowed: must be a Database, in files a table of its fields',
    ),
    ({"presets": {}}, "presets: `presets` is a word of config files only"),
    ({"endpoints": []}, "endpoints: a list is not allowed: must be a table"),
    (
        {"endpoints": {"a": "off"}},
        'endpoints."a": "off" is not allowed: must be an EndpointPolicy, in files a table of its fields',
    ),
    (
        {"endpoints": {"a": {"rate_limits": BUCKET}}},
        'endpoints."a".rate_limits: unknown word; did you mean "rate_limit"?',
    ),
    (
        {"default": "off"},
        'default: "off" is not allowed: must be an EndpointPolicy, in files a table of its fields',
    ),
    (
        {"default": {"rate_limit": {**BUCKET, "cost": 0}}},
        "default.rate_limit.cost: 0 is not allowed: must be greater than 0",
    ),
    ({"store": "rediss//x"}, "store: is not an address such as redis://localhost:6379/0"),
    ({"flood_guard": {"limit": 5}}, "flood_guard.window: must be given"),
    (
        {"flood_guard": {"limit": 5, "windw": 60}},
        'flood_guard.windw: unknown word; did you mean "window"?',
    ),
    ({"flood_guard": 5}, "flood_guard: 5 is not allowed: must be a FloodGuard, in files a table of its fields"),
    ({"namespace": "a:b"}, 'namespace: "a:b" is not allowed: must be 1 to 32 letters, digits, _ or -'),
    ({"namespace": 5}, "namespace: 5 is not allowed: must be 1 to 32 letters, digits, _ or -"),
    (
        {"limit_headers": "draft-10"},
        (
            "limit_headers: \"draft-10\" is not allowed: must be 'draft-11', 'legacy', 'both' or 'none'"
            '; did you mean "draft-11"?'
        ),
    ),
    ({"ipv6_prefix": 0}, "ipv6_prefix: 0 is not allowed: must be greater than 0"),
    ({"ipv6_prefix": 129}, "ipv6_prefix: 129 is not allowed: must be at most 128"),
    ({"routes": {"a": " "}}, 'routes."a": " " is not allowed: must be a route such as GET /records/{record_id}'),
    ({"routes": {"a": 5}}, 'routes."a": 5 is not allowed: must be text'),
    (
        {"key_functions": {"org": "module:function"}},
        (
            'key_functions."org": "module:function" is not allowed: '
            "must be a Python function; beside a file, from_file(path, key_functions={…})"
        ),
    ),
    (
        {"key_functions": {"org": waiting}},
        (
            'key_functions."org": a value of type function is not allowed: '
            "must be a plain function: keys are made before anything is awaited"
        ),
    ),
    (
        {"key_functions": {"client": str, "header:x": str}},
        (
            'key_functions."client": "client" is not allowed: is a key already; give the function another name\n'
            'key_functions."header:x": "header:x" is not allowed: is a key already; give the function another name'
        ),
    ),
    (
        {
            "default": {"rate_limit": {**WINDOW, "name": "x"}},
            "endpoints": {"a": {"rate_limit": {**SLIDING, "name": "x"}}},
        },
        (
            'endpoints."a".rate_limit.name: "x" is also the name of default.rate_limit, '
            "which is a fixed_window, not a sliding_window; limits of one name share one bucket"
        ),
    ),
]


@pytest.mark.parametrize(("fields", "line"), WRONG_CONFIGS, ids=range(len(WRONG_CONFIGS)))
def test_wrong_configs(fields: dict[str, object], line: str) -> None:
    """One wrong word in a config is one line, that names field, value and what is right."""
    with pytest.raises(ConfigError) as caught:
        JobConfig.model_validate(fields)
    assert str(caught.value) == line


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """An operator mends everything in one go: each mistake of a file is a line."""
    path = tmp_path / "policies.toml"
    path.write_text(
        """
        store = "redsi://localhost"
        [default.rate_limit]
        type = "throttel"
        [endpoints.a.rate_limit]
        type = "token_bucket"
        max_tokens = 0
        [endpoints.b]
        rate_limit = "none"
        """
    )
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_file(path)
    assert caught.value.problems == (
        'endpoints."a".rate_limit.max_tokens: 0 is not allowed: must be greater than 0',
        'endpoints."a".rate_limit.refill_rate: must be given',
        'endpoints."b".rate_limit: "none" is not allowed: must be a limit, a list of limits, or "off"',
        f'default.rate_limit.type: "throttel" is not allowed: {TYPES}; did you mean "throttle"?',
        'store: "redsi://…" is not allowed: its scheme is unknown; did you mean "redis"?',
    )


def test_python_arguments_are_told_the_same() -> None:
    """The constructor raises the same error as a file does, also for a word it does not have."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(stoer="redis://x")  # type: ignore[call-arg]  # the mistake under test
    assert str(caught.value) == 'stoer: unknown word; did you mean "store"?'


def test_later_fields_are_not_fields() -> None:
    """No field is both there and said to be absent."""
    assert not LATER & set(JobConfig.model_fields)
