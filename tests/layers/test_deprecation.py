"""Endpoints that will go."""

from datetime import UTC, datetime, timedelta

import pytest

from forecourt import Brownout, ConfigError, Deprecation, DeprecationMiddleware, EndpointPolicy, JobConfig
from forecourt.types import SECOND
from tests.layers.guarded import Guarded

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def guarded(**words: object) -> Guarded:
    """Build a service whose endpoint is deprecated, on a clock that stands at the new year of 2026."""
    service = Guarded(EndpointPolicy(deprecation=Deprecation(since=SINCE, **words)))  # type: ignore[arg-type]  # its own words
    service.clock.advance(SINCE.timestamp() - service.clock.now() / SECOND)
    return service


async def test_answers_say_since_when_and_until_when() -> None:
    """A structured date (RFC 9745 §2.1), an HTTP date in GMT (RFC 8594 §3), and links; each call is told."""
    service = guarded(
        sunset=datetime.fromisoformat("2026-07-01T02:00:00+02:00"),
        link="https://api.example/news",
        successor="/v2/",
    )
    answer = await service.call()
    assert (answer.status, answer.headers["deprecation"]) == (200, "@1767225600")
    assert answer.headers["sunset"] == "Wed, 01 Jul 2026 00:00:00 GMT"
    links = [value for name, value in answer.starts[0]["headers"] if name == b"link"]
    assert links == [
        b'<https://api.example/news>; rel="deprecation"; type="text/html"',
        b'</v2/>; rel="successor-version"',
    ]
    assert service.decisions == [("deprecation", "called")]


async def test_a_brownout_answers_503_for_its_time() -> None:
    """From its start, with the seconds to its end; not at its end any more."""
    brownout = Brownout(start=SINCE + timedelta(seconds=10), end=SINCE + timedelta(seconds=20))
    service = guarded(brownouts=[brownout])
    statuses = []
    for _ in range(4):
        statuses.append((await service.call()).status)
        service.clock.advance(9.9)
    assert statuses == [200, 200, 503, 200]
    service.clock.advance(-20)
    answer = await service.call()
    assert (answer.status, answer.headers["retry-after"], "sunset" in answer.headers) == (503, "1", False)


async def test_after_its_sunset_it_is_gone_where_the_operator_says_so() -> None:
    """410 with the same fields; otherwise it goes on."""
    sunset = SINCE + timedelta(seconds=5)
    going, staying = guarded(sunset=sunset, gone=True), guarded(sunset=sunset)
    assert (await going.call()).status == 200
    for service in (going, staying):
        service.clock.advance(5)
    answer = await going.call()
    assert (answer.status, answer.headers["sunset"]) == (410, "Thu, 01 Jan 2026 00:00:05 GMT")
    assert (await staying.call()).status == 200


@pytest.mark.parametrize(
    ("deprecation", "message"),
    [
        ({}, "deprecation.since: must be given"),
        ({"since": "2026-01-01T00:00:00"}, "should have timezone info"),
        ({"since": SINCE, "sunset": "2025-01-01T00:00:00Z"}, "must not be before since (RFC 9745 §5)"),
        ({"since": SINCE, "gone": True}, "it is never gone without a sunset; add one"),
        ({"since": SINCE, "successor": "/a b"}, "must be an address or a path without spaces"),
        ({"since": SINCE, "link": "http://api.example"}, "must begin with https://"),
        ({"since": SINCE, "brownouts": [{"start": SINCE, "end": SINCE}]}, "must be after start"),
    ],
)
def test_wrong_times_stop_the_start(deprecation: dict[str, object], message: str) -> None:
    """Instants have a zone and follow each other."""
    with pytest.raises(ConfigError, match="deprecation") as caught:
        JobConfig(default={"deprecation": deprecation})  # type: ignore[arg-type]  # as in a file
    assert message in str(caught.value)


def test_it_is_a_middleware_of_its_own() -> None:
    """The stack with that one layer."""
    assert DeprecationMiddleware.installs == ("deprecation",)
