"""OpenAPI: who may call what, told in the schema that FastAPI generates, from the config.

    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)
    document_security(app, config)

Swagger's Authorize button then works although the handlers are plain. Each operation says which schemes it takes and
which scopes it needs, and the refusals it may answer with. What the app documents itself stays as it is. Mounted apps
have schemas of their own: call this for each, as their endpoints are named `mount:name`, with `prefix="mount:"`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, cast

from forecourt.config import JobConfig
from forecourt.policies.security import Security
from forecourt.routing import RouteTable
from forecourt.types import ASGIApp

Schema = dict[str, object]

_PROBLEM: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_REFUSALS = {"401": "The caller is not known.", "403": "The caller may not do this."}
_TOLD = "x-forecourt"


class HasSchema(Protocol):
    """An app that generates an OpenAPI schema, as FastAPI does."""

    openapi: Callable[[], Schema]


def document_security(app: object, config: JobConfig, *, prefix: str = "") -> None:
    """Have the app's schema tell what `config` asks of callers; `prefix` is that of a mounted app's endpoint names."""
    generate = cast("HasSchema", app).openapi

    def openapi() -> Schema:
        schema = generate()
        if _TOLD not in schema:
            _document(schema, app, config, prefix)
        return schema

    cast("HasSchema", app).openapi = openapi


def _document(schema: Schema, app: object, config: JobConfig, prefix: str) -> None:
    schema[_TOLD] = True
    schemes = _schemes(config)
    components = _table(schema, "components")
    _table(components, "securitySchemes").update(schemes)
    _table(components, "schemas").setdefault("Problem", dict(_PROBLEM))
    for path, method, name in _routes(app):
        operation = _found(schema, path, method)
        policy = config.policy_for(prefix + name)
        if operation is not None and policy is not None and policy.security is not None:
            _tell(operation, policy.security, schemes)


def _tell(operation: Schema, security: Security, schemes: Mapping[str, object]) -> None:
    operation["security"] = [*_requirements(security, schemes)]
    if security.public:
        return
    responses = _table(operation, "responses")
    for status, words in _REFUSALS.items():
        if status == "401" or security.scopes or security.roles:
            content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
            responses.setdefault(status, {"description": words, "content": content})
    if security.roles:
        word = "all" if security.match_roles == "all" else "one"
        roles = ", ".join(f"`{role}`" for role in sorted(security.roles))
        operation["description"] = f"{operation.get('description', '')}\n\nRoles: {word} of {roles}.".strip()


def _requirements(security: Security, schemes: Mapping[str, object]) -> Iterator[dict[str, list[str]]]:
    """Yield the alternatives: a scheme with the scopes that are needed, or one for each scope that is enough."""
    if security.public:
        return
    if security.anonymous:
        yield {}
    scopes = sorted(security.scopes)
    sets = [[scope] for scope in scopes] if security.match_scopes == "any" and scopes else [scopes]
    for name in schemes:
        if security.schemes is None or _OF[name] & set(security.schemes):
            yield from ({name: each} for each in (sets if name == "bearer" else [[]]))


_OF = {"bearer": {"bearer", "introspection"}, "api_key": {"api_key"}}


def _schemes(config: JobConfig) -> Schema:
    told: Schema = {}
    if config.issuers or config.introspection:
        told["bearer"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    if config.api_keys is not None:
        told["api_key"] = {"type": "apiKey", "in": "header", "name": config.api_keys.header}
    return told


def _routes(app: object) -> Iterator[tuple[str, str, str]]:
    """Yield path, method and name of each endpoint that the app's router has."""
    table = RouteTable.compile(cast("ASGIApp", app), {}, {"type": "lifespan", "app": app})
    for endpoint in table.endpoints:
        for method in endpoint.methods or ():
            yield endpoint.path, method.lower(), endpoint.name


def _found(schema: Schema, path: str, method: str) -> Schema | None:
    item = _table(schema, "paths").get(path)
    operation = item.get(method) if isinstance(item, dict) else None
    return operation if isinstance(operation, dict) else None


def _table(schema: Schema, name: str) -> Schema:
    table = schema.setdefault(name, {})
    assert isinstance(table, dict), "an OpenAPI schema's parts are tables"
    return table
