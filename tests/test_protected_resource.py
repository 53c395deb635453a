"""The service describes itself to OAuth clients (RFC 9728), from its config."""

import json

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from forecourt import ConfigError, Dpop, EndpointPolicy, Introspection, JobConfig, PolicyMiddleware, Security
from forecourt.protected_resource import ProtectedResource, document
from forecourt.testing import FakeIssuer
from tests.asgi import call, get, http
from tests.auth.service import challenges, who


async def test_challenges_lead_to_the_document() -> None:
    """It names who issues tokens, and the scopes of all endpoints; whoever asks needs no token."""
    config = JobConfig(
        resource="https://api.example/v1",
        issuers=[FakeIssuer().policy],
        introspection=Introspection(
            url="https://opaque.example/ask", issuer="https://opaque.example", client_id="c", client_secret="s"
        ),
        dpop=Dpop(),
        default=EndpointPolicy(security=Security(scopes={"read"})),
        endpoints={
            "protected_resource": EndpointPolicy(security=Security(public=True)),
            "who": EndpointPolicy(security=Security(scopes={"write", "read"})),
        },
    )
    place = "/.well-known/oauth-protected-resource/v1"
    app = Starlette(
        routes=[Mount(place, ProtectedResource(config), name="protected_resource"), Route("/", who, name="who")],
        middleware=[Middleware(PolicyMiddleware, config=config)],
    )
    told = f'resource_metadata="https://api.example{place}"'
    assert all(told in each for each in challenges(await get(app, "/")))
    answer = await get(app, f"{place}/")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == {
        "resource": "https://api.example/v1",
        "authorization_servers": ["https://issuer.example", "https://opaque.example"],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["read", "write"],
        "dpop_signing_alg_values_supported": ["ES256", "RS256", "PS256", "Ed25519"],
        "dpop_bound_access_tokens_required": False,
    }
    assert (await call(app, http(f"{place}/", "HEAD"))).body == b""
    assert (await call(app, http(f"{place}/", "POST"))).status == 405


def test_a_service_without_an_address_has_none() -> None:
    """ConfigError says what to give; without proofs and scopes the document says less."""
    with pytest.raises(ConfigError, match="resource: must be given"):
        ProtectedResource(JobConfig(endpoints={}))
    assert document(JobConfig(resource="https://api.example"))["scopes_supported"] == []
