"""The page for operators, to be mounted: `app.mount("/console", config.console, name="console")`.

The routes are there from the start, so that they can be mounted, named and put under policies; what answers them is
bound by the stack. The page itself holds nothing and is public; its data and actions ask for a role.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from forecourt.config_check import EndpointLike
from forecourt.config_policies import Policies, ResolvedPolicy
from forecourt.errors import ConfigError
from forecourt.policies.wording import spelt


class AnswersConsole(Protocol):
    """What answers the endpoints of the console."""

    async def page(self, request: Request) -> Response:
        """Return the page, or what it loads."""
        ...

    async def state(self, request: Request) -> Response:
        """Say how the service stands."""
        ...

    async def events(self, request: Request) -> Response:
        """Stream how the service stands."""
        ...

    async def act(self, request: Request) -> Response:
        """Do what an operator asks for."""
        ...


class ConsoleApp(Router):
    """The endpoints `page`, `state`, `events` and `act`, an ASGI app to mount; equal only to itself."""

    def __init__(self) -> None:
        self._bound: AnswersConsole | None = None
        self.shell = Route("/{file:path}", self._page, methods=["GET"], name="page")
        self.guarded = (
            Route("/api/state", self._state, methods=["GET"], name="state"),
            Route("/api/events", self._events, methods=["GET"], name="events"),
            Route("/api/actions/{kind}", self._act, methods=["POST"], name="act"),
        )
        super().__init__([*self.guarded, self.shell])

    def bind(self, answers: AnswersConsole | None) -> None:
        """Have these endpoints answered; None: no longer. Called by the stack of the config."""
        self._bound = answers

    def owns(self, endpoint: EndpointLike) -> bool:
        """Return whether an endpoint of the app is one of these."""
        return endpoint.handler is not None and any(
            endpoint.handler == route.endpoint for route in (*self.guarded, self.shell)
        )

    def mounted(self, endpoints: Sequence[EndpointLike]) -> bool:
        """Return whether an app with these endpoints has the console."""
        return any(map(self.owns, endpoints))

    async def _page(self, request: Request) -> Response:
        return await self._bound.page(request) if self._bound else Response(status_code=404)

    async def _state(self, request: Request) -> Response:
        return await self._bound.state(request) if self._bound else Response(status_code=404)

    async def _events(self, request: Request) -> Response:
        return await self._bound.events(request) if self._bound else Response(status_code=404)

    async def _act(self, request: Request) -> Response:
        return await self._bound.act(request) if self._bound else Response(status_code=404)


def console_misfits(
    policies: Policies, endpoints: Sequence[EndpointLike], *, app: ConsoleApp, signed: bool
) -> Iterator[str]:
    """Yield a line for each thing that keeps the console from being served; nothing where it is not mounted."""
    mine = [endpoint for endpoint in endpoints if app.owns(endpoint)]
    for endpoint in mine:
        policy = _resolved(policies, endpoint)
        if policy is None:
            continue
        place = spelt(("endpoints", endpoint.name, "security"))
        security = policy.security
        if endpoint.handler == app.shell.endpoint:
            if security is not None and not security.public:
                yield (
                    f"{place}: a browser asks for the page without a token, and the page holds nothing:"
                    " say security = { public = true }"
                )
        elif security is None or not security.roles:
            prefix = endpoint.name.rpartition(":")[0]
            glob = spelt(("endpoints", f"{prefix}:*" if prefix else endpoint.name, "security"))
            yield (
                f"{place}: what the console shows and does needs a role:"
                f' say roles there, as in {glob} = {{ roles = ["operator"] }}'
            )
    if mine and not signed:
        yield 'audit_log: what is done in the console is written there, signed: say keys=["env:NAME"], 32 bytes or more'


def _resolved(policies: Policies, endpoint: EndpointLike) -> ResolvedPolicy | None:
    try:
        return policies.of(endpoint.name, endpoint.protocol)
    except ConfigError:
        return None  # told already, by the check that is about it
