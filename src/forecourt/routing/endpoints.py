"""What an endpoint is, and what resolving a request yields."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """A named route of the app; equal only to itself, since two handlers may share a name.

    `name` is the route's name as `url_for` knows it: `get_record`, inside named mounts
    `mount:get_record`. What has no name (a nameless mounted app, a frontend, a router's own default
    app) is called by its path. `path` is the full template, mounts and prefixes included, without
    convertors: `/v2/records/{record_id}`. `methods` is None where any method is answered, and for
    WebSockets. `protocol` says which scopes it answers. `handler` is what the router stores in
    `scope["endpoint"]` when this endpoint runs, None where that cannot be known.
    """

    name: str
    path: str
    methods: frozenset[str] | None
    protocol: Literal["http", "websocket", "any"]
    handler: object | None


class Resolution(NamedTuple):
    """Which endpoint a request is for, and with which path parameters.

    `endpoint` is None where the router itself answers: 404, 405, a redirect to the other slash form.
    `params` are converted and include those of the mounts on the way; empty where there are none.
    """

    endpoint: Endpoint | None
    params: Mapping[str, object]


NO_PARAMS: Mapping[str, object] = MappingProxyType({})
"""The path parameters of a path that has none."""

UNROUTED = Resolution(None, NO_PARAMS)
"""The router itself answers."""
