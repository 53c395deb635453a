"""What an operator can say of an upstream, and what is told where it cannot be."""

import pytest

from forecourt import CircuitBreaker, ConfigError, JobConfig, Retry, Timeout, Upstream


def told(**fields: object) -> str:
    """Return what is said of an upstream with these fields."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(endpoints={}, upstreams={"payments": fields})  # type: ignore[dict-item]  # the mistake under test
    return str(caught.value)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (7, "7 is not allowed: must be an address such as https://payments.internal/v1"),
        ("payments.internal", "is not an address such as https://payments.internal/v1"),
        ("ftp://payments.internal", "is not an address such as https://payments.internal/v1"),
        ("http://payments.internal:port", "is not an address such as https://payments.internal/v1"),
        ("https://me:word@payments.internal", "must not carry a user or a password"),
        ("https://payments.internal/?key=word", "must not carry a query or a fragment"),
    ],
)
def test_an_address_that_cannot_be_called(address: object, reason: str) -> None:
    """The line says where, and shows no secret."""
    line = told(base_url=address)
    assert line == f'upstreams."payments".base_url: {reason}'
    assert "word@" not in line


def test_hosts_are_a_list_of_hosts() -> None:
    """Without scheme and port; they are compared in lower case."""
    known = {"base_url": "https://a"}
    assert told(**known, deadline_hosts="a").endswith('deadline_hosts: "a" is not allowed: must be a list of hosts')
    assert 'must be a host without scheme or port, such as "payments.internal"' in told(
        **known, deadline_hosts=["https://a"]
    )
    hosts = Upstream(base_url="https://a", deadline_hosts=["Payments.Internal", "[::1]"]).deadline_hosts
    assert hosts == ("payments.internal", "::1")


def test_unknown_words_and_names_are_told() -> None:
    """With the nearest word."""
    assert told(base_uri="https://a") == 'upstreams."payments".base_uri: unknown word; did you mean "base_url"?'
    with pytest.raises(ConfigError, match="must be 1 to 64 letters"):
        JobConfig(endpoints={}, upstreams={"the payments": Upstream(base_url="https://a")})


def test_each_part_may_be_off() -> None:
    """Off, not given, or a policy."""
    bare = Upstream(base_url="https://a", circuit_breaker="off", retry="off", timeout="off")
    assert (bare.breaker, bare.retrying, bare.limit) == (None, None, None)
    full = Upstream(base_url="https://a", circuit_breaker=CircuitBreaker(), retry=Retry(), timeout=Timeout(seconds=1))
    assert (full.breaker, full.retrying, full.limit) == (CircuitBreaker(), Retry(), Timeout(seconds=1))
