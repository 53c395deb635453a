"""The words of `Idempotency`."""

import pytest
from pydantic import ValidationError

from forecourt import ConfigError, EndpointPolicy, Idempotency, JobConfig, Security
from tests.layers.keyed import Keyed
from tests.services import starlette


def test_what_is_meant_without_a_word() -> None:
    """The defaults."""
    policy = Idempotency()
    assert policy.times() == (86_400_000_000, 15_000_000)
    assert (policy.required, policy.on_unknown, policy.max_body, policy.max_records) == (True, "block", 65_536, 1000)
    assert not policy.anonymous
    assert Idempotency(key="client").anonymous
    assert EndpointPolicy(idempotency="off").idempotency == "off"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("header", "no header", "must be the name of a header"),
        ("header", 1, "must be the name of a header"),
        ("key", "endpoint", "must tell callers apart"),
        ("ttl", 14, "must be at least lease"),
        ("ttl", 0, "must be greater than 0"),
        ("lease", 0.5, "must be at least 1 second"),
        ("wait", 61, "must be at most 60 seconds"),
        ("wait", -1, "must be 0 or more"),
        ("on_unknown", "again", "block"),
        ("max_body", 4 * 1024 * 1024 + 1, "must be at most 4194304 bytes"),
        ("max_body", 0, "must be greater than 0"),
        ("max_records", 0, "must be greater than 0"),
        ("fingerprint", set(), "at least 1"),
        ("fingerprint", {"headers"}, "method"),
        ("fields", ("$.order.amount",), r'must be a JSON pointer .*did you mean "/order/amount"'),
        ("fields", ("/a~b",), 'did you mean "/a~0b"'),
        ("fields", ("/a", "/b", "/a"), "must be there once"),
        ("fields", tuple(f"/{number}" for number in range(33)), "at most 32 JSON pointers"),
        ("lock", 1, "unknown word"),
    ],
)
def test_what_cannot_be(field: str, value: object, reason: str) -> None:
    """Each refusal says what may be instead."""
    with pytest.raises(ValidationError, match=reason):
        Idempotency(**{field: value})  # type: ignore[arg-type]  # the mistake under test


def test_fields_are_fields_of_the_body() -> None:
    """Where the body does not count, neither do they; names and escapes are read as RFC 6901 §3 and §4 say."""
    with pytest.raises(ValidationError, match='fingerprint must have "body"'):
        Idempotency(fields=("/a",), fingerprint={"path"})
    policy = Idempotency(fields=("/order/items/0", "/a~1b~01", ""))
    assert [pointer.names for pointer in policy.pointers()] == [("order", "items", "0"), ("a/b~1",), ()]


def test_a_key_without_a_function_is_refused() -> None:
    """As for limits: the nearest word is named."""
    with pytest.raises(ConfigError, match=r"idempotency.key.*did you mean"):
        JobConfig(endpoints={"do": EndpointPolicy(idempotency=Idempotency(key="cliemt"))})


async def start(policy: EndpointPolicy) -> str:
    """Return why a service with this policy does not start; empty when it does."""
    service = Keyed(policy)
    try:
        await service.post()
    except ConfigError as error:
        return str(error)
    return ""


async def test_an_endpoint_of_anonymous_callers_needs_a_key_of_its_own() -> None:
    """Otherwise whoever guesses a key reads another's answer; the address or a header is the operator's word."""
    for key in (None, "principal", "tenant"):
        wrong = await start(EndpointPolicy(idempotency=Idempotency(key=key)))
        assert "idempotency: the endpoint lets in anonymous callers, so key must say" in wrong
    assert await start(EndpointPolicy(idempotency=Idempotency(key="header:X-Org"))) == ""


async def test_an_endpoint_that_only_reads_has_no_use_for_it() -> None:
    """Its own policy is a mistake; a default is not."""
    from starlette.routing import Route

    from tests.asgi import get
    from tests.services import text

    keyed = EndpointPolicy(idempotency=Idempotency(key="client"))
    app = starlette(JobConfig(endpoints={"text": keyed}), Route("/", text, name="text"))
    with pytest.raises(ConfigError, match=r"idempotency: GET / only reads"):
        await get(app, "/")
    app = starlette(JobConfig(default=keyed), Route("/", text, name="text"))
    assert (await get(app, "/")).status == 200


@pytest.mark.parametrize(
    ("security", "kept"), [(Security(), True), (Security(anonymous=True), False), (Security(public=True), False)]
)
def test_principals_tell_callers_apart(security: Security, kept: bool) -> None:
    """Where everyone has one, a default needs no other key; elsewhere it is skipped."""
    config = JobConfig(default=EndpointPolicy(security=security, idempotency=Idempotency()))
    resolved = config.policy_for("do")
    assert resolved is not None
    assert (resolved.idempotency is not None) is kept
    assert bool(resolved.skipped) is not kept
