"""The words of a cache, and what they are told that cannot be."""

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from forecourt import Cache, EndpointPolicy, JobConfig, PolicyMiddleware
from forecourt.core.caching.freshness import Terms
from forecourt.errors import ConfigError
from forecourt.types import SECOND
from tests.asgi import get
from tests.services import echo, text


def test_what_a_cache_says() -> None:
    """Durations become µs; names of headers are lower-case; one tag may stand alone."""
    cache = Cache.model_validate({"ttl": 1.5, "vary": "Accept", "tags": "a:{b}", "stale_while_revalidate": 2})
    assert cache.terms() == Terms(1_500_000, 2 * SECOND, 0)
    assert (cache.vary, cache.tags) == (("accept",), frozenset({"a:{b}"}))
    assert Cache(profile="rfc9111").terms() == Terms(heuristics=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"ttl": 0}, "0 is not allowed: must be greater than 0"),
        ({"ttl": 10**8}, "must be at most 2592000 seconds, a month"),
        ({"tags": {"a:{}"}}, '"a:{}" is not allowed: must be a tag such as record:{record_id}'),
        ({"tags": {"a:{b.c}"}}, "path parameter in braces"),
        ({"tags": {"a:{b"}}, "is not allowed"),
        ({"tags": 7}, "must be a set of tags"),
        ({"tags": [f"t{number}" for number in range(17)]}, "at most 16 tags"),
        ({"vary": "a b"}, "must be names of request headers"),
        ({"max_body": 2**30}, "must be at most 67108864 bytes"),
        ({"early_refresh": 11}, "must be at most 10"),
        ({"partition": "princpal"}, 'did you mean "principal"'),
        ({"profile": "rfc"}, "is not allowed"),
        ({"tll": 3}, 'did you mean "ttl"'),
    ],
)
def test_what_a_cache_cannot_say(words: dict[str, object], told: str) -> None:
    """Each names the field, the value and what is right."""
    with pytest.raises(ValidationError) as refused:
        Cache(**words)  # type: ignore[arg-type]  # wrong on purpose
    assert told in str(refused.value)


ROUTES = [
    Route("/records/{record_id:int}", text, methods=["GET"], name="get_record"),
    Route("/records", text, methods=["POST"], name="create_record"),
    WebSocketRoute("/echo", echo, name="echo"),
]


async def faults(**endpoints: EndpointPolicy) -> str:
    """Return what a start with these policies is told."""
    config = JobConfig(endpoints=endpoints, default=EndpointPolicy())
    with pytest.raises(ConfigError) as refused:
        await get(PolicyMiddleware(Starlette(routes=ROUTES), config=config), "/")
    return str(refused.value)


async def test_what_does_not_fit_an_endpoint() -> None:
    """A cache on a POST, tags of parameters that the path has not, and WebSockets."""
    told = await faults(create_record=EndpointPolicy(cache=Cache(ttl=1)))
    assert told == (
        'endpoints."create_record".cache: /records answers POST, and only answers to GET are kept;'
        " use `invalidates` here"
    )
    told = await faults(get_record=EndpointPolicy(cache=Cache(tags={"record:{recordid}"})))
    assert told == (
        'endpoints."get_record".cache.tags: "record:{recordid}" is not allowed: /records/{record_id} has no parameter'
        ' recordid; did you mean "record_id"?'
    )
    told = await faults(create_record=EndpointPolicy(invalidates={"record:{record_id}"}))
    assert told == (
        'endpoints."create_record".invalidates: "record:{record_id}" is not allowed: /records has no parameter'
        " record_id; it has none"
    )
    assert "is a WebSocket" in await faults(echo=EndpointPolicy(cache=Cache(ttl=1)))
    assert "is a WebSocket" in await faults(echo=EndpointPolicy(invalidates={"a"}))
    told = await faults(**{"get*": EndpointPolicy(cache=Cache(tags={"a:{b}"}))})
    assert told.startswith('endpoints."get*".cache.tags: "a:{b}" is not allowed')


async def test_a_default_is_skipped_where_nothing_can_be_kept() -> None:
    """A POST and a WebSocket go on without; a GET has it; a tag that cannot be made is an error all the same."""
    config = JobConfig(default=EndpointPolicy(cache=Cache(ttl=9)))
    app = PolicyMiddleware(Starlette(routes=ROUTES), config=config)
    assert "cache-status" not in (await get(app, "/records", "POST")).headers
    assert "cache-status" in (await get(app, "/records/1")).headers
    wrong = JobConfig(default=EndpointPolicy(invalidates={"a:{b}"}))
    with pytest.raises(ConfigError, match=r"default\.invalidates of endpoint 'create_record'"):
        await get(PolicyMiddleware(Starlette(routes=ROUTES), config=wrong), "/")


def test_files_say_it_too() -> None:
    """As tables and lists; "off" switches it off."""
    policy = EndpointPolicy.model_validate({"cache": {"ttl": 3, "tags": ["a"]}, "invalidates": ["b"]})
    assert policy == EndpointPolicy(cache=Cache(ttl=3, tags={"a"}), invalidates={"b"})
    off = JobConfig(endpoints={"a": EndpointPolicy(cache="off", invalidates="off")}, default=policy).policy_for("a")
    assert off is not None
    assert (off.cache, off.invalidates) == (None, frozenset())
    with pytest.raises(ValidationError, match="must be a set of tags"):
        EndpointPolicy.model_validate({"invalidates": 3})


def test_the_cache_store_is_an_address() -> None:
    """Checked and shown as the store's is."""
    config = JobConfig(cache_store="redis://user:secret@host:1")
    assert "secret" not in repr(config)
    with pytest.raises(ConfigError, match="cache_store"):
        JobConfig(cache_store="http://host")


async def test_a_cached_endpoint_without_its_layer_stops_the_start() -> None:
    """As any policy."""
    config = JobConfig(endpoints={"get_record": EndpointPolicy(cache=Cache(ttl=1))}, default=EndpointPolicy())
    with pytest.raises(ConfigError, match="the stack has no cache layer"):
        await get(PolicyMiddleware(Starlette(routes=ROUTES), config=config, layers=("errors",)), "/")


async def test_any_endpoint_that_answers_all_methods_may_be_cached() -> None:
    """Where a route names no methods, its GETs are kept and its writes invalidate them."""
    calls: list[str] = []

    async def app(scope: object, receive: object, send: object) -> None:
        calls.append(scope["method"])  # type: ignore[index]  # an ASGI scope
        await PlainTextResponse("done")(scope, receive, send)  # type: ignore[arg-type]  # ASGI

    config = JobConfig(endpoints={"thing": EndpointPolicy(cache=Cache(ttl=9))}, routes={"thing": "/things/{number}"})
    stack = PolicyMiddleware(app, config=config)
    for method in ("GET", "GET", "PUT", "GET"):
        await get(stack, "/things/1", method)
    assert calls == ["GET", "PUT", "GET"]
