"""The weight of a request's header."""

import pytest

from forecourt import ConfigError, EndpointPolicy, JobConfig, MaxHeadersMiddleware
from tests.layers.guarded import Guarded


async def test_a_heavier_header_is_refused() -> None:
    """Names and values count; exactly as much as allowed passes (`host: test` is 8 bytes)."""
    service = Guarded(EndpointPolicy(max_headers=20))
    assert (await service.call("GET", (b"x-a", b"123456789"))).status == 200
    refused = await service.call("GET", (b"x-a", b"1234567890"))
    assert refused.status == 431
    assert b"header-too-large" in refused.body
    assert service.decisions == [("max_headers", "refused")]


async def test_off_is_no_limit() -> None:
    """As everywhere."""
    assert (await Guarded(EndpointPolicy(max_headers="off")).call("GET", (b"x", b"1" * 9000))).status == 200


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "must be greater than 0"),
        ("of", 'must be a number of bytes, or "off"; did you mean "off"?'),
    ],
)
def test_wrong_sizes_stop_the_start(value: object, message: str) -> None:
    """With the field's name."""
    with pytest.raises(ConfigError, match="max_headers") as caught:
        JobConfig(default={"max_headers": value})  # type: ignore[arg-type]  # as in a file
    assert message in str(caught.value)


def test_it_is_a_middleware_of_its_own() -> None:
    """And a size may be text, as an environment gives it."""
    assert MaxHeadersMiddleware.installs == ("max_headers",)
    assert EndpointPolicy(max_headers="100").max_headers == 100  # type: ignore[arg-type]  # as in an environment
    assert EndpointPolicy(max_headers=None).max_headers is None
