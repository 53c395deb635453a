"""What a config does to an app, looked at without starting it: endpoints, their policies, and what is wrong."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Host

from forecourt.config import JobConfig, ResolvedPolicy
from forecourt.config_weaknesses import weaknesses
from forecourt.errors import ConfigError
from forecourt.layers.authenticating import opened
from forecourt.middleware import PolicyMiddleware
from forecourt.routing import Endpoint, RouteTable
from forecourt.stack import in_order
from forecourt.types import ASGIApp, Scope, SystemClock


class Inspection(NamedTuple):
    """Endpoints with their policies (None: named by no one), what stops the start, weaknesses, hints; the config."""

    endpoints: Sequence[tuple[Endpoint, ResolvedPolicy | None]]
    problems: Sequence[str]
    weaknesses: Sequence[str]
    hints: Sequence[str]
    config: JobConfig


class Guarded(NamedTuple):
    """What guards an app: the config, the app's routes, and the names of the layers that are installed."""

    config: JobConfig
    table: RouteTable
    layers: tuple[str, ...]


def inspect(app: ASGIApp) -> Inspection:
    """Look at an app that has a PolicyMiddleware; ConfigError when it has none."""
    outermost = _built(app)
    config, table, layers = _guarded(app, outermost)
    try:
        problems = [*config.check(table.endpoints, in_order(layers)), *_unusable(config)]
    except ConfigError as error:
        problems = list(error.problems)
    resolved = [(endpoint, config.policy_for(endpoint.name, endpoint.protocol)) for endpoint in table.endpoints]
    weak = [*weaknesses(config, resolved), *([] if _by_host(outermost) else _never_run(table))]
    return Inspection(resolved, problems, weak, _hints(outermost), config)


def _by_host(outermost: object) -> bool:
    """Return whether it depends on the host which route runs."""
    routes = [route for layer in _inward(outermost) for route in getattr(layer, "routes", ())]
    return any(isinstance(route, Host) for route in routes)


def _never_run(table: RouteTable) -> Iterator[str]:
    """Tell of routes that an earlier one hides, as `/records/{id}` hides `/records/new`."""
    for endpoint in table.endpoints:
        if "{" in endpoint.path or endpoint.protocol != "http" or not endpoint.path.startswith("/"):
            continue
        hidden_by = [_resolved(table, method, endpoint.path) for method in sorted(endpoint.methods or ("GET",))]
        other = hidden_by[0]
        if other is not None and endpoint not in hidden_by and other.handler is not endpoint.handler:
            yield (
                f'endpoint "{endpoint.name}" ({endpoint.path}) never runs: "{other.name}" ({other.path}) answers first;'
                " add its route before that one"
            )


def _resolved(table: RouteTable, method: str, path: str) -> Endpoint | None:
    scope: Scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "query_string": b""}
    return table.resolve(scope).endpoint


def guarded(app: ASGIApp) -> Guarded:
    """Return what guards an app that has a PolicyMiddleware; ConfigError when it has none, or its layers misfit."""
    config, table, layers = _guarded(app, _built(app))
    return Guarded(config, table, in_order(layers))


def _guarded(app: ASGIApp, outermost: object) -> Guarded:
    found = [layer for layer in _inward(outermost) if isinstance(layer, PolicyMiddleware)]
    if not found:
        raise ConfigError("the app has no PolicyMiddleware: app.add_middleware(PolicyMiddleware, config=config)")
    config = found[0].config
    mine = [stack for stack in found if stack.config is config]
    scope: Scope = {"type": "lifespan", "app": app}
    table = RouteTable.compile(mine[-1].app, config.routes, scope)
    return Guarded(config, table, tuple(layer for stack in mine for layer in stack.layers))


def _unusable(config: JobConfig) -> Sequence[str]:
    """Return a line for each key that is of no use, such as one that is too weak; nothing is fetched."""
    try:
        opened(config, SystemClock())
    except ConfigError as error:
        return error.problems
    return []


def stack_of(app: ASGIApp, layer: str) -> PolicyMiddleware:
    """Return the stack with this layer in an app that has started; ConfigError when it has none."""
    each: object = getattr(app, "middleware_stack", None) or app
    while each is not None:
        if isinstance(each, PolicyMiddleware) and layer in each.layers:
            return each
        inner = getattr(each, "app", None)
        each = getattr(inner, "middleware_stack", None) or inner
    raise ConfigError(f"the app has no PolicyMiddleware with the layer {layer}")


def _built(app: object) -> object:
    """Return the outermost middleware: Starlette builds its stack only when the first message comes."""
    build = getattr(app, "build_middleware_stack", None)
    return build() if build else app


def _inward(app: object) -> Sequence[object]:
    layers: list[object] = []
    while app is not None:
        layers.append(app)
        inner = getattr(app, "app", None)
        app = _built(inner) if inner is not None and hasattr(inner, "build_middleware_stack") else inner
    return layers


def _hints(outermost: object) -> list[str]:
    layers = _inward(outermost)
    cors = [place for place, layer in enumerate(layers) if isinstance(layer, CORSMiddleware)]
    ours = [place for place, layer in enumerate(layers) if isinstance(layer, PolicyMiddleware)]
    if cors and cors[-1] > ours[0]:
        return ["CORSMiddleware stands inside PolicyMiddleware, so browsers cannot read refusals: add it last"]
    return []
