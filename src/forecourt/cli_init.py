"""`forecourt init`: a policy file to begin with, from the routes of an app.

forecourt init main:app > policies.toml

Each endpoint gets a preset by what it looks like: the file says why, and what else there is.
"""

import argparse
import json
from collections.abc import Iterator

from forecourt.cli_app import imported
from forecourt.config_policies import DOCS_ROUTES
from forecourt.core.retrying import IDEMPOTENT
from forecourt.policies.presets import PRESETS
from forecourt.routing import Endpoint, RouteTable
from forecourt.types import Scope

_OURS = ("health:", "metrics", "jobs:")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    words = "print a policy file to begin with, from the routes of an app"
    init = commands.add_parser("init", help=words, description=words)
    init.add_argument("app", metavar="module:app", help="as a server is told; it needs no PolicyMiddleware yet")
    init.set_defaults(run=_init)


def _init(given: argparse.Namespace) -> int:
    app = imported(given.app)
    scope: Scope = {"type": "lifespan", "app": app}
    table = RouteTable.compile(app, {}, scope)
    print("\n".join(starter(table.endpoints)))
    return 0


def starter(endpoints: "list[Endpoint] | tuple[Endpoint, ...]") -> Iterator[str]:
    """Yield the lines of a policy file for these endpoints."""
    yield "# Policies by endpoint. Presets to choose from: " + ", ".join(
        f"{name} ({', '.join(preset)})" for name, preset in PRESETS.items()
    )
    yield "# `forecourt check module:app` says what does not fit, `forecourt show module:app` what holds where."
    yield ""
    yield "flood_guard = { limit = 1000, window = 10 }"
    yield ""
    yield "[default]"
    seen: set[str] = set()
    for endpoint in endpoints:
        if endpoint.name not in seen and endpoint.name not in DOCS_ROUTES:
            seen.add(endpoint.name)
            yield from _section(endpoint)


def _section(endpoint: Endpoint) -> Iterator[str]:
    methods = ", ".join(sorted((endpoint.methods or frozenset()) - {"HEAD"})) or endpoint.protocol
    yield ""
    yield f"# {methods} {endpoint.path}"
    yield f"[endpoints.{json.dumps(endpoint.name)}]"
    if endpoint.name.startswith(_OURS) or endpoint.path.strip("/").startswith(("health", "metrics")):
        yield 'rate_limit = "off"'
    elif endpoint.protocol == "websocket":
        yield 'rate_limit = { type = "token_bucket", max_tokens = 10, refill_rate = 1, count = "connect" }'
    else:
        yield 'preset = "db"  # or "io" where it calls another service, "cpu" where it burns processor time'
        if endpoint.methods is not None and endpoint.methods.isdisjoint(IDEMPOTENT):
            yield "# idempotency = { required = false }  # with `security`: a repeated POST is carried out once"
        else:
            yield '# cache = { ttl = 60, tags = ["…"] }  # with `invalidates` on the endpoints that change it'
