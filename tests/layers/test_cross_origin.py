"""Calls that pages of other sites have browsers make."""

import pytest

from forecourt import ConfigError, CrossOrigin, CrossOriginMiddleware, EndpointPolicy, JobConfig
from tests.layers.guarded import Guarded, Header

COOKIE = (b"cookie", b"session=1")


def site(value: bytes) -> Header:
    """Say where a request comes from, as browsers do."""
    return (b"sec-fetch-site", value)


def origin(value: bytes) -> Header:
    """Name the page's origin."""
    return (b"origin", value)


CASES = [
    ([], 200),
    ([site(b"same-origin")], 200),
    ([site(b"none")], 200),
    ([site(b"same-site")], 403),
    ([site(b"cross-site")], 403),
    ([site(b"strange")], 403),
    ([site(b"cross-site"), origin(b"https://app.example")], 200),
    ([site(b"same-origin"), origin(b"https://elsewhere.example")], 200),
    ([origin(b"https://app.example")], 200),
    ([origin(b"http://test")], 200),
    ([origin(b"https://TEST")], 200),
    ([origin(b"http://test:8080")], 403),
    ([origin(b"https://elsewhere.example")], 403),
    ([origin(b"null")], 403),
    ([origin(b"https://app.example"), origin(b"https://elsewhere.example")], 403),
]


@pytest.mark.parametrize(("fields", "status"), CASES)
async def test_only_own_and_trusted_pages_change_anything(fields: list[Header], status: int) -> None:
    """Sec-Fetch-Site decides, else Origin against Host; callers that are no browsers send neither."""
    service = Guarded(EndpointPolicy(cross_origin=CrossOrigin(origins={"https://APP.example"})))
    answer = await service.call("POST", COOKIE, *fields)
    assert answer.status == status
    assert (b"cross-origin" in answer.body) == (status == 403)
    assert service.decisions == [("cross_origin", "refused")] * (status == 403)


@pytest.mark.parametrize(("fields", "status"), CASES)
async def test_websockets_are_for_the_same_pages(fields: list[Header], status: int) -> None:
    """A handshake is a GET, but what follows may change anything."""
    service = Guarded(EndpointPolicy(cross_origin=CrossOrigin(origins={"https://app.example"})))
    answer = await service.connect(*fields)
    assert answer.kinds[0] == ("websocket.accept" if status == 200 else "websocket.http.response.start")


async def test_safe_methods_pass() -> None:
    """A link from another site is no harm."""
    service = Guarded(EndpointPolicy(cross_origin=CrossOrigin()))
    assert (await service.call("GET", site(b"cross-site"))).status == 200


@pytest.mark.parametrize(
    "value",
    ["app.example", "https://app.example/", "https://app.example/path", "https://u:p@app.example", "https://a:x", 7],
)
def test_wrong_origins_stop_the_start(value: object) -> None:
    """An origin has a scheme, a host, perhaps a port, and nothing else."""
    with pytest.raises(ConfigError, match="cross_origin") as caught:
        JobConfig(default={"cross_origin": {"origins": [value]}})  # type: ignore[arg-type]  # as in a file
    assert "must be an origin such as https://app.example" in str(caught.value)
    assert "u:p" not in str(caught.value)


def test_one_origin_is_a_list_too() -> None:
    """The error shows how it is written."""
    with pytest.raises(ConfigError, match=r'as in \["https://app.example"\]'):
        JobConfig(default={"cross_origin": {"origins": "https://app.example"}})  # type: ignore[arg-type]  # as in a file


def test_it_is_a_middleware_of_its_own() -> None:
    """The stack with that one layer."""
    assert CrossOriginMiddleware.installs == ("cross_origin",)
