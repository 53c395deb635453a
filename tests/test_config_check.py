"""Whether a config fits an app and a stack."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import fastapi
import pytest
from starlette.routing import Route

from forecourt.config import EndpointProtocol, JobConfig
from forecourt.policies import EndpointPolicy, FixedWindow, FloodGuard

LIMITED = EndpointPolicy(rate_limit=FixedWindow(limit=5, window=60))
SILENT = EndpointPolicy()
LAYERS = ("errors", "flood_guard", "rate_limit")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of an app."""

    name: str
    path: str = "/"
    methods: frozenset[str] | None = frozenset({"GET", "HEAD"})
    protocol: EndpointProtocol = "http"
    handler: object | None = "a handler"


def get_record() -> None:
    """Be a handler."""


def get_record_v2() -> None:
    """Be another."""


def check(config: JobConfig, *endpoints: Endpoint, layers: tuple[str, ...] = LAYERS) -> list[str]:
    """Return the lines that a check says."""
    return config.check(endpoints, layers)


def test_a_config_that_fits() -> None:
    """Names, globs, default and layers that all mean something are no problem."""
    config = JobConfig(
        endpoints={"get_record": LIMITED, "admin:*": SILENT}, default=SILENT, flood_guard=FloodGuard(limit=1, window=1)
    )
    assert check(config, Endpoint("get_record"), Endpoint("admin:x"), Endpoint("other")) == []


def test_endpoints_that_the_app_lacks() -> None:
    """A name or a glob that means no endpoint is told with the nearest that exist, or with what there is."""
    config = JobConfig(endpoints={"get_recrod": SILENT, "zzz": SILENT, "admn:*": SILENT, "9*": SILENT}, default=SILENT)
    assert check(config, Endpoint("get_record"), Endpoint("get_records"), Endpoint("admin:x")) == [
        'endpoints."get_recrod": the app has no endpoint of this name; did you mean "get_record" or "get_records"?',
        'endpoints."zzz": the app has no endpoint of this name; it has admin:x, get_record, get_records',
        'endpoints."admn:*": the app has no endpoint that matches; did you mean "admin:x"?',
        'endpoints."9*": the app has no endpoint that matches; it has admin:x, get_record, get_records',
    ]


def test_a_long_list_is_cut_and_an_empty_one_said() -> None:
    """At most eight names are listed; an app without endpoints has none."""
    config = JobConfig(endpoints={"zzz": SILENT}, default=SILENT)
    many = [Endpoint(f"e{number}") for number in range(9)]
    assert check(config, *many) == [
        'endpoints."zzz": the app has no endpoint of this name; it has e0, e1, e2, e3, e4, e5, e6, e7, …'
    ]
    assert check(config) == ['endpoints."zzz": the app has no endpoint of this name; it has none']


V1 = Endpoint("get_record", "/v1/records", handler=get_record)
V2 = Endpoint("get_record", "/v2/records", handler=get_record_v2)


@pytest.mark.parametrize(
    ("first", "second", "routes", "advice"),
    [
        (V1, V2, "GET /v1/records and GET /v2/records", 'routes={"v2_get_record": "GET /v2/records"}'),
        (
            V1,
            Endpoint("get_record", "/{id}", frozenset({"POST"}), handler=get_record_v2),
            "GET /v1/records and POST /{id}",
            'routes={"post_get_record": "POST /{id}"}',
        ),
        (
            V1,
            Endpoint("get_record", "/{id}", None, handler=get_record_v2),
            "GET /v1/records and /{id}",
            'routes={"other_get_record": "/{id}"}',
        ),
        (
            Endpoint("get_record", "/a", None, handler=None),
            Endpoint("get_record", "/b", frozenset({"HEAD"}), handler=None),
            "/a and HEAD /b",
            'routes={"b_get_record": "HEAD /b"}',
        ),
    ],
)
def test_a_name_of_two_handlers(first: Endpoint, second: Endpoint, routes: str, advice: str) -> None:
    """Two handlers of one name that the config uses are told, with how to name one; without a handler, two paths."""
    assert check(JobConfig(endpoints={"get_record": SILENT}), first, second) == [
        (
            f'endpoints."get_record": 2 different handlers have this name, {routes};'
            f" give one a name of its own, as in {advice}"
        )
    ]


def test_one_handler_included_twice_is_one() -> None:
    """One handler under two paths shares its policy; names that the config does not use may repeat."""
    again = Endpoint("get_record", "/v2/records", handler=get_record)
    assert check(JobConfig(endpoints={"get_record": SILENT}), V1, again) == []
    assert check(JobConfig(default=SILENT), V1, V2) == []
    assert check(JobConfig(endpoints={"get_*": SILENT}), V1, V2) == []


def test_a_method_of_one_object_is_one_handler() -> None:
    """A bound method is a new object each time it is asked for, and still the same handler."""
    text = "x"
    one = Endpoint("a", "/1", handler=text.upper)
    two = Endpoint("a", "/2", handler=text.upper)
    assert one.handler is not two.handler
    assert check(JobConfig(endpoints={"a": SILENT}), one, two) == []


def test_endpoints_that_no_one_names() -> None:
    """Without a default each endpoint must be named, by itself or by a glob."""
    config = JobConfig(endpoints={"named": SILENT, "admin:*": SILENT})
    endpoints = (
        Endpoint("named"),
        Endpoint("admin:x"),
        Endpoint("other", "/o/{id}"),
        Endpoint("ws", "/ws", None, "websocket"),
    )
    assert check(config, *endpoints) == [
        (
            'endpoint "other" (GET /o/{id}) is named by no one and there is no default: '
            'add endpoints."other", or a default for all'
        ),
        'endpoint "ws" (/ws) is named by no one and there is no default: add endpoints."ws", or a default for all',
    ]


def test_fastapi_docs_need_no_name() -> None:
    """The documentation routes of a real FastAPI app are let be; an endpoint of ours by such a name is not."""
    app = fastapi.FastAPI()
    routes = [route for route in app.routes if isinstance(route, Route)]
    endpoints = [Endpoint(route.name, route.path, handler=route.endpoint) for route in routes]
    assert {endpoint.name for endpoint in endpoints} == {
        "openapi",
        "swagger_ui_html",
        "swagger_ui_redirect",
        "redoc_html",
    }
    assert check(JobConfig(), *endpoints) == []
    handlers: list[Callable[[], None] | None] = [get_record, functools.partial(get_record), None]
    for handler in handlers:
        assert check(JobConfig(), Endpoint("openapi", "/openapi", handler=handler)) == [
            (
                'endpoint "openapi" (GET /openapi) is named by no one and there is no default: '
                'add endpoints."openapi", or a default for all'
            )
        ]


def test_policies_without_a_layer() -> None:
    """A policy that nothing would enforce is told once for each place that says it; "off" needs no layer."""
    config = JobConfig(
        endpoints={"a": LIMITED, "b*": LIMITED, "c": EndpointPolicy(rate_limit="off")},
        default=LIMITED,
        flood_guard=FloodGuard(limit=1, window=1),
    )
    endpoints = (Endpoint("a"), Endpoint("b1"), Endpoint("b2"), Endpoint("c"), Endpoint("d"))
    assert check(config, *endpoints, layers=("errors",)) == [
        "flood_guard: the stack has no flood_guard layer; it has errors",
        'rate_limit of endpoint "a": the stack has no rate_limit layer; it has errors',
        'rate_limit of glob "b*": the stack has no rate_limit layer; it has errors',
        "rate_limit of default: the stack has no rate_limit layer; it has errors",
    ]
    assert check(JobConfig(default=LIMITED), Endpoint("a"), layers=()) == [
        "rate_limit of default: the stack has no rate_limit layer; it has none"
    ]


def test_what_only_websockets_have() -> None:
    """An endpoint's own limit of messages on plain HTTP is told; of a default it is skipped, on others it is right."""
    messages = EndpointPolicy(
        rate_limit=[FixedWindow(limit=1, window=1, count="message"), FixedWindow(limit=1, window=1)]
    )
    config = JobConfig(endpoints={"a": messages}, default=messages)
    assert check(config, Endpoint("a", "/a"), Endpoint("b", "/b")) == [
        (
            'endpoints."a".rate_limit.count: "message" is not allowed: '
            "it is for WebSockets, and GET /a is a plain HTTP endpoint"
        )
    ]
    assert check(config, Endpoint("a", protocol="websocket"), Endpoint("b", protocol="any")) == []
    skipped = JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=1, window=1, count="connect")))
    assert check(skipped, Endpoint("a"), layers=()) == []


def test_rival_globs_are_told_once() -> None:
    """Two equally specific globs are told for each endpoint they meet on, and do not hide other problems."""
    config = JobConfig(endpoints={"a*": LIMITED, "*z": LIMITED})
    assert check(config, Endpoint("a_z", "/1"), Endpoint("a_z", "/2"), Endpoint("x")) == [
        (
            'endpoints."a*" and endpoints."*z" both set rate_limit of endpoint "a_z" and are equally specific:'
            ' give endpoints."a_z".rate_limit itself, or make one of them longer'
        ),
        'endpoint "x" (GET /) is named by no one and there is no default: add endpoints."x", or a default for all',
    ]
