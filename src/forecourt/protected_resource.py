"""What an OAuth client must know of the service before its first call (RFC 9728), read from the config.

    app.mount("/.well-known/oauth-protected-resource", ProtectedResource(config), name="protected_resource")

The endpoint is under policies like any other: clients have no token yet, so make it public. `resource` in the config is
the service's own address; challenges then name this document.
"""

import json

from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.policies.security import Security
from forecourt.types import Receive, Scope, Send


class ProtectedResource:
    """An ASGI app that answers with the document; ConfigError where the config has no `resource`."""

    def __init__(self, config: JobConfig) -> None:
        if config.resource is None:
            raise ConfigError('resource: must be given for its metadata, as in "https://api.example"')
        self._body = json.dumps(document(config)).encode()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer GET and HEAD, at whatever path this is mounted."""
        allowed = scope.get("method") in ("GET", "HEAD")
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"public, max-age=3600")]
        if not allowed:
            headers = [(b"allow", b"GET, HEAD")]
        body = self._body if allowed else b""
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200 if allowed else 405, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope.get("method") == "GET" else b""})


def document(config: JobConfig) -> dict[str, object]:
    """Return the metadata (§2): who issues tokens for it, how they are shown, and the scopes that endpoints ask for."""
    policies = [each.security for each in (*config.endpoints.values(), config.default) if each is not None]
    scopes = {scope for policy in policies if isinstance(policy, Security) for scope in policy.scopes}
    issuers = [issuer.issuer for issuer in config.issuers if not issuer.development]
    if config.introspection is not None:
        issuers.append(config.introspection.issuer)
    told: dict[str, object] = {
        "resource": config.resource,
        "authorization_servers": list(dict.fromkeys(issuers)),
        "bearer_methods_supported": ["header"],
        "scopes_supported": sorted(scopes),
    }
    if config.dpop is not None:
        told["dpop_signing_alg_values_supported"] = ["ES256", "RS256", "PS256", "Ed25519"]
        told["dpop_bound_access_tokens_required"] = config.dpop.required
    return told
