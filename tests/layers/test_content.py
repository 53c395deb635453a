"""Media types that are taken, and those that are answered with."""

import json

import pytest

from forecourt import ConfigError, Content, ContentMiddleware, EndpointPolicy, FixedWindow, JobConfig
from tests.layers.guarded import Guarded, Header

JSON = Content(accepts={"application/json", "image/*"}, produces={"application/json"})
LENGTH = (b"content-length", b"2")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b"content-type", b"application/json; charset=utf-8"), LENGTH], 200),
        ([(b"content-type", b"image/png"), LENGTH], 200),
        ([(b"content-type", b"text/plain"), LENGTH], 415),
        ([LENGTH], 415),
        ([(b"transfer-encoding", b"chunked")], 415),
        ([(b"content-length", b"0")], 200),
        ([], 200),
        ([(b"content-type", b"text/plain")], 415),
    ],
)
async def test_only_what_is_taken_passes(fields: list[Header], status: int) -> None:
    """A body needs a type that is accepted; without a body none is needed (RFC 9110 §15.5.16)."""
    service = Guarded(EndpointPolicy(content=JSON))
    answer = await service.send([b"{}"], *fields)
    assert answer.status == status
    if status == 415:
        assert answer.headers["accept"] == "application/json, image/*"
        assert json.loads(answer.body)["accepts"] == ["application/json", "image/*"]
        assert service.bodies == []


@pytest.mark.parametrize(("accept", "status"), [(b"*/*", 200), (b"text/html", 406), (b"", 200)])
async def test_a_caller_must_accept_what_there_is(accept: bytes, status: int) -> None:
    """Without a field anything is accepted (RFC 9110 §15.5.7)."""
    answer = await Guarded(EndpointPolicy(content=JSON)).call("GET", (b"accept", accept))
    assert answer.status == status
    assert status == 200 or json.loads(answer.body)["produces"] == ["application/json"]


async def test_either_half_stands_alone() -> None:
    """What is not given is not asked for."""
    takes = Guarded(EndpointPolicy(content=Content(accepts={"text/csv"})))
    gives = Guarded(EndpointPolicy(content=Content(produces={"text/csv"})))
    assert (await takes.call("GET", (b"accept", b"image/png"))).status == 200
    assert (await gives.call("POST", (b"content-type", b"image/png"))).status == 200


async def test_limits_count_what_it_refuses() -> None:
    """It stands below them, so that it is no way around."""
    service = Guarded(EndpointPolicy(content=JSON, rate_limit=FixedWindow(limit=1, window=60)))
    assert [(await service.send([b"{}"], LENGTH)).status for _ in range(2)] == [415, 429]


async def test_websockets_pass() -> None:
    """They have no content."""
    assert (await Guarded(EndpointPolicy(content=JSON)).connect((b"accept", b"text/html"))).kinds[
        0
    ] == "websocket.accept"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "give accepts, produces, or both"),
        ({"produces": ["image/*"]}, "must be a whole media type, not a range"),
        ({"accepts": ["json"]}, "must be a media type such as application/json or image/*"),
        ({"accepts": "application/json"}, 'must be a list of media types, as in ["application/json"]'),
    ],
)
def test_wrong_types_stop_the_start(content: dict[str, object], message: str) -> None:
    """With the field's name and the fix."""
    with pytest.raises(ConfigError, match="content") as caught:
        JobConfig(default={"content": content})  # type: ignore[arg-type]  # as in a file
    assert message in str(caught.value)


def test_it_is_a_middleware_of_its_own() -> None:
    """The stack with that one layer."""
    assert ContentMiddleware.installs == ("content",)
