"""A service whose endpoints ask who is calling, and callers with tokens."""

import json
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from forecourt import EndpointPolicy, JobConfig, Security
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock, FakeIssuer
from forecourt.types import ASGIApp, Message
from tests.asgi import Answer, call, http, websocket
from tests.services import echo, starlette


async def who(request: Request) -> Response:
    """Say who is calling."""
    principal = request.state.forecourt.principal
    return JSONResponse(
        {
            "authenticated": request.user.is_authenticated,
            "name": request.user.display_name,
            "scopes": sorted(request.auth.scopes),
            "subject": principal and principal.subject,
            "tenant": principal and principal.tenant,
            "tier": principal and principal.tier,
        }
    )


class Guarded:
    """Endpoint `/` (named `who`) and WebSocket `/echo` under one `security`, and an issuer that they believe."""

    def __init__(
        self,
        security: Security | None = None,
        *routes: BaseRoute,
        store: Store | None = None,
        issuer: FakeIssuer | None = None,
        policy: EndpointPolicy | None = None,
        **config: object,
    ) -> None:
        self.clock = FakeClock()
        self.issuer = issuer or FakeIssuer(clock=self.clock, algorithm="HS256")
        config.setdefault("issuers", [self.issuer.policy])
        self.store: Store = MemoryStore(self.clock) if store is None else store
        self.config = JobConfig(
            default=policy or EndpointPolicy(security=security or Security()),
            **config,  # type: ignore[arg-type]  # the tests' own words
        )
        listed = (Route("/", who, name="who"), WebSocketRoute("/echo", echo, name="echo"), *routes)
        self.app: ASGIApp = starlette(self.config, *listed, clock=self.clock, store=self.store)

    def token(self, **token: object) -> str:
        """Sign a token."""
        return self.issuer.token(**token)  # type: ignore[arg-type]  # the issuer's own words

    async def bearing(self, token: str, path: str = "/", scheme: str = "Bearer") -> Answer:
        """Call with a token."""
        return await self.showing({"authorization": f"{scheme} {token}"}, path)

    async def showing(self, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), path: str = "/") -> Answer:
        """Call with these header fields."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        return await call(self.app, http(path, headers=fields))

    async def connecting(self, token: str | None, *received: Message, denial: bool = True) -> Answer:
        """Open the WebSocket."""
        scope = websocket("/echo", denial=denial)
        if token is not None:
            scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {token}".encode())]
        return await call(self.app, scope, *received)


def problem(answer: Answer) -> str:
    """Return the last part of a problem's type."""
    return str(json.loads(answer.body)["type"]).rpartition("/")[2]


def challenges(answer: Answer) -> list[str]:
    """Return the challenges of an answer."""
    (start,) = answer.starts
    return [value.decode() for name, value in start["headers"] if name == b"www-authenticate"]
