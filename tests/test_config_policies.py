"""Which policy holds for an endpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.config import JobConfig
from forecourt.config_policies import FieldSource, Policies
from forecourt.errors import ConfigError
from forecourt.policies import Concurrency, Credits, EndpointPolicy, FixedWindow, RateLimit, TokenBucket

OFF = EndpointPolicy(rate_limit="off")
SILENT = EndpointPolicy()


def limit(number: int) -> FixedWindow:
    """Build a limit that can be told from others."""
    return FixedWindow(limit=number, window=60)


def policy(number: int) -> EndpointPolicy:
    """Build a policy that can be told from others."""
    return EndpointPolicy(rate_limit=limit(number))


def source(endpoints: dict[str, EndpointPolicy], default: EndpointPolicy | None, name: str) -> FieldSource | None:
    """Return what holds for `rate_limit` of an endpoint, and who says so."""
    resolved = Policies(endpoints, default).of(name)
    return resolved.fields["rate_limit"] if resolved else None


@pytest.mark.parametrize(
    ("endpoints", "default", "found"),
    [
        ({"admin:x": policy(1), "admin:*": policy(2)}, policy(3), FieldSource(limit(1), 'endpoint "admin:x"')),
        ({"admin:x": SILENT, "admin:*": policy(2)}, policy(3), FieldSource(limit(2), 'glob "admin:*"')),
        ({"admin:x": SILENT, "admin:*": SILENT}, policy(3), FieldSource(limit(3), "default")),
        ({"admin:x": SILENT}, SILENT, FieldSource(None, "off")),
        ({"admin:x": SILENT}, None, FieldSource(None, "off")),
        ({"admin:x": OFF}, policy(3), FieldSource(None, 'endpoint "admin:x"')),
        ({"admin:*": OFF}, policy(3), FieldSource(None, 'glob "admin:*"')),
        ({}, OFF, FieldSource(None, "default")),
        ({"other": policy(1), "other:*": policy(2)}, None, None),
        ({"admin:y": policy(1), "ADMIN:*": policy(2)}, None, None),
    ],
)
def test_who_decides(
    endpoints: dict[str, EndpointPolicy], default: EndpointPolicy | None, found: FieldSource | None
) -> None:
    """The endpoint, else a glob, else the default, else off; None where no one names the endpoint at all."""
    assert source(endpoints, default, "admin:x") == found


@pytest.mark.parametrize(
    ("globs", "winner"),
    [
        (["*", "admin:*"], "admin:*"),
        (["admin:*", "admin:us*"], "admin:us*"),
        (["*:users", "*"], "*:users"),
        (["admin:????", "*:users"], "*:users"),
        (["admin:[a-z]*", "admin:*s"], "admin:*s"),
    ],
)
def test_the_glob_with_the_most_literal_text_wins(globs: list[str], winner: str) -> None:
    """Wildcards and classes count nothing, whatever the order of the file."""
    for order in (globs, globs[::-1]):
        endpoints = {glob: policy(number + 1) for number, glob in enumerate(order)}
        found = source(endpoints, None, "admin:users")
        assert found is not None
        assert found.source == f'glob "{winner}"'


def test_equally_specific_globs_are_an_error() -> None:
    """Two such globs that set one field are named; unless the endpoint decides, or one of them is silent."""
    rivals = {"ab*": policy(1), "*yz": policy(2), "*": policy(3)}
    with pytest.raises(ConfigError) as caught:
        source(rivals, None, "ab_yz")
    assert str(caught.value) == (
        'endpoints."ab*" and endpoints."*yz" both set rate_limit of endpoint "ab_yz" and are equally specific:'
        ' give endpoints."ab_yz".rate_limit itself, or make one of them longer'
    )
    assert source(rivals, None, "ab_x") == FieldSource(limit(1), 'glob "ab*"')
    assert source({**rivals, "ab_yz": OFF}, None, "ab_yz") == FieldSource(None, 'endpoint "ab_yz"')
    assert source({**rivals, "*yz": SILENT}, None, "ab_yz") == FieldSource(limit(1), 'glob "ab*"')


@given(st.text("ab:", min_size=1, max_size=6), st.lists(st.text("ab:*", min_size=1, max_size=6), unique=True))
def test_precedence_against_a_plain_reading(name: str, globs: list[str]) -> None:
    """A reading of the rule in other words (Python's own `fnmatchcase`, longest first) finds the same source."""
    from fnmatch import fnmatchcase

    globs = [glob for glob in globs if "*" in glob]
    matching = sorted((glob for glob in globs if fnmatchcase(name, glob)), key=lambda glob: -len(glob.replace("*", "")))
    lengths = [len(glob.replace("*", "")) for glob in matching[:2]]
    endpoints = {glob: policy(1) for glob in globs}
    if len(lengths) == 2 and lengths[0] == lengths[1]:
        with pytest.raises(ConfigError, match="equally specific"):
            source(endpoints, None, name)
        return
    found = source(endpoints, SILENT, name)
    assert found is not None
    assert found.source == (f'glob "{matching[0]}"' if matching else "off")


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        (limit(1), (limit(1),)),
        ([limit(1), limit(2)], (limit(1), limit(2))),
        ("off", ()),
        (None, ()),
    ],
)
def test_limits_are_always_a_tuple(value: object, limits: tuple[RateLimit, ...]) -> None:
    """One limit, several, none: a stack reads them in one way."""
    config = JobConfig(endpoints={"a": EndpointPolicy.model_validate({"rate_limit": value})})
    found = config.policy_for("a")
    assert found is not None
    assert (found.endpoint, found.rate_limit, found.skipped) == ("a", limits, ())


def test_docs_routes_are_named_by_themselves() -> None:
    """FastAPI's documentation has a policy that refuses nothing, or the default, or its own."""
    silent = JobConfig().policy_for("openapi")
    assert silent is not None
    assert silent.rate_limit == ()
    default = JobConfig(default=policy(1)).policy_for("redoc_html")
    assert default is not None
    assert default.rate_limit == (limit(1),)


def test_what_only_websockets_have_is_skipped_on_plain_http() -> None:
    """Limits of connections and messages, when the default or a glob asks for them, are left out and told."""
    both = EndpointPolicy(rate_limit=[limit(1), TokenBucket(max_tokens=1, refill_rate=1, count="message"), limit(2)])
    only = EndpointPolicy(rate_limit=FixedWindow(limit=1, window=1, count="connect"))
    config = JobConfig(endpoints={"own": both, "ws*": only}, default=both)
    http = config.policy_for("a", "http")
    assert http is not None
    assert http.rate_limit == (limit(1), limit(2))
    assert http.skipped == ('rate_limit of default: token_bucket counts "message", which is for WebSockets',)
    glob = config.policy_for("ws_a", "http")
    assert glob is not None
    assert (glob.rate_limit, glob.fields["rate_limit"]) == ((), FieldSource(None, 'glob "ws*"'))
    assert glob.skipped == ('rate_limit of glob "ws*": fixed_window counts "connect", which is for WebSockets',)
    for name, protocol in (("a", "websocket"), ("a", "any"), ("own", "http")):
        found = config.policy_for(name, protocol)  # type: ignore[arg-type]  # a literal, through the loop
        assert found is not None
        assert (len(found.rate_limit), found.skipped) == (3, ())


def test_concurrency_and_credits_are_fields_of_their_own() -> None:
    """Each is the model, or None where it is off or nobody says anything; limits are a tuple."""
    priced = EndpointPolicy(concurrency=Concurrency(limit=1), credits=Credits(amount=2))
    resolved = Policies({"b": EndpointPolicy(credits="off")}, priced).of("b")
    assert resolved is not None
    assert (resolved.rate_limit, resolved.concurrency, resolved.credits) == ((), Concurrency(limit=1), None)
    resolved = Policies({}, priced).of("c")
    assert resolved is not None
    assert resolved.credits == Credits(amount=2)
