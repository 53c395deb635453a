"""OpenAPI: what the config asks of callers and what the stack may answer, told in an app's schema.

    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)
    document_policies(app, config)

Swagger's Authorize button then works although the handlers are plain. Each operation says which schemes it takes and
which scopes it needs, every refusal its policies can give with its fields, the request fields that they read
(`Idempotency-Key`, `Prefer`), and its limits and prices (`x-rate-limits`, `x-concurrency`, `x-credits`).
`document_security` tells the first two only; `described` writes into the schema of an app of any other framework. What
the app documents itself stays as it is. Mounted apps have schemas of their own: call this for each, as their endpoints
are named `mount:name`, with `prefix="mount:"`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, cast

from forecourt.config import JobConfig
from forecourt.integrations.openapi_layers import FIELDS, Given, Place, Sent, told
from forecourt.integrations.openapi_sealed import REFUSAL, tell_sealed
from forecourt.policies.security import Security
from forecourt.routing import Endpoint, RouteTable
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
_JOB: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "status": {"type": "string"},
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["id", "status"],
}
_REFUSALS = {"401": "The caller is not known.", "403": "The caller may not do this."}
_TOLD = "x-forecourt"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class HasSchema(Protocol):
    """An app that generates an OpenAPI schema, as FastAPI does."""

    openapi: Callable[[], Schema]


def document_policies(app: object, config: JobConfig, *, prefix: str = "") -> None:
    """Have FastAPI's schema tell all that `config` says; `prefix` is that of a mounted app's endpoint names."""
    _wrap(app, lambda schema: described(schema, app, config, prefix=prefix))


def document_security(app: object, config: JobConfig, *, prefix: str = "") -> None:
    """Have the app's schema tell what `config` asks of callers; `prefix` is that of a mounted app's endpoint names."""
    _wrap(app, lambda schema: _document_security(schema, app, config, prefix))


def described(schema: Schema, app: object, config: JobConfig, *, prefix: str = "") -> Schema:
    """Write into an OpenAPI schema all that `config` says of the app's operations, and return it.

    `app` is the ASGI app that the stack stands in front of, of any framework; where its routes cannot be read, the
    config's `routes` say which paths are which endpoint. Operations that the schema does not have are not added.
    """
    _document_security(schema, app, config, prefix)
    components = _table(schema, "components")
    _table(components, "schemas").setdefault("Job", dict(_JOB))
    fields = _table(components, "headers")
    for name, words in FIELDS.items():
        fields.setdefault(name, _field(words))
    for endpoint, method in _endpoints(app, config):
        operation = _found(schema, endpoint.path, method)
        policy = config.policy_for(prefix + endpoint.name, "http")
        if operation is not None and policy is not None:
            _describe(operation, Place(endpoint, method.upper(), policy, config))
    return schema


def _wrap(app: object, document: Callable[[Schema], object]) -> None:
    generate = cast("HasSchema", app).openapi

    def openapi() -> Schema:
        schema = generate()
        if _TOLD not in schema:
            document(schema)
        return schema

    cast("HasSchema", app).openapi = openapi


def _document_security(schema: Schema, app: object, config: JobConfig, prefix: str) -> None:
    schema[_TOLD] = True
    schemes = _schemes(config)
    components = _table(schema, "components")
    _table(components, "securitySchemes").update(schemes)
    _table(components, "schemas").setdefault("Problem", dict(_PROBLEM))
    for endpoint, method in _endpoints(app, config):
        operation = _found(schema, endpoint.path, method)
        policy = config.policy_for(prefix + endpoint.name)
        if operation is not None and policy is not None and policy.security is not None:
            _tell(operation, policy.security, schemes)


def _describe(operation: Schema, place: Place) -> None:
    """Write what the layers add to one operation; what stands above a layer leaves its fields on its refusals too."""
    responses = _table(operation, "responses")
    if "requestBody" in operation and "422" in responses:
        _tell_unreadable(responses)
    own = list(responses)
    if (encryption := place.policy.encryption) is not None and encryption.end_to_end:
        tell_sealed(operation, encryption, [_table(responses, status) for status in own])
    above: tuple[str, ...] = ()
    for each in told(place):
        for given in each.given:
            _give(responses, given, above)
        above += each.fields
        for sent in each.sent:
            _send(operation, sent)
        for name, mark in each.marks.items():
            operation.setdefault(name, mark)
    for status in own:
        _name(_table(responses, status), above)


def _tell_unreadable(responses: Schema) -> None:
    """Write down what FastAPI answers to JSON that is not UTF-8, and tells nobody: 400, not the 422 of other errors."""
    response = _table(responses, "400")
    response.setdefault("description", "The content cannot be read.")
    detail: Schema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    _table(response, "content").setdefault("application/json", {"schema": detail})


def _give(responses: Schema, given: Given, above: tuple[str, ...]) -> None:
    """Add one response, or its words, media type and fields to the response of its status that is there."""
    status = str(given.status)
    response = _table(responses, status)
    words = str(response.get("description", ""))
    if given.why not in words:
        response["description"] = f"{words} {given.why}".strip()
    if given.media_type is not None:
        schema = {"$ref": f"#/components/schemas/{given.schema}"}
        _table(response, "content").setdefault(given.media_type, {"schema": schema})
    _name(response, (*above, *given.fields))


def _name(response: Schema, fields: Iterable[str]) -> None:
    """Name the fields that a response may carry."""
    for field in fields:
        known = {"$ref": f"#/components/headers/{field}"}
        _table(response, "headers").setdefault(field, known if field in FIELDS else _field(""))


def _field(words: str) -> Schema:
    return {"description": words, "schema": {"type": "string"}}


def _send(operation: Schema, sent: Sent) -> None:
    """Add a request field, unless the app documents it."""
    parameters = operation.setdefault("parameters", [])
    assert isinstance(parameters, list), "an operation's parameters are a list"
    if any(isinstance(each, dict) and _same(each, sent.name) for each in parameters):
        return
    schema = {"type": "string", **({"pattern": sent.pattern} if sent.pattern else {})}
    parameters.append(
        {"name": sent.name, "in": "header", "required": sent.required, "description": sent.why, "schema": schema}
    )


def _same(parameter: Mapping[str, object], name: str) -> bool:
    return parameter.get("in") == "header" and str(parameter.get("name")).lower() == name.lower()


def _tell(operation: Schema, security: Security, schemes: Mapping[str, object]) -> None:
    operation["security"] = [*_requirements(security, schemes)]
    if security.public:
        return
    responses = _table(operation, "responses")
    for status, words in _REFUSALS.items():
        if status == "401" or security.scopes or security.roles:
            responses.setdefault(status, {"description": words, "content": dict(REFUSAL)})
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


def _endpoints(app: object, config: JobConfig) -> Iterator[tuple[Endpoint, str]]:
    """Yield each endpoint of the app with each of its methods, in lower case; of any method, all that OpenAPI has."""
    table = RouteTable.compile(cast("ASGIApp", app), config.routes, {"type": "lifespan", "app": app})
    for endpoint in table.endpoints:
        if endpoint.protocol != "websocket":
            for method in endpoint.methods or _METHODS:
                yield endpoint, method.lower()


def _found(schema: Schema, path: str, method: str) -> Schema | None:
    item = _table(schema, "paths").get(path)
    operation = item.get(method) if isinstance(item, dict) else None
    return operation if isinstance(operation, dict) else None


def _table(schema: Schema, name: str) -> Schema:
    table = schema.setdefault(name, {})
    assert isinstance(table, dict), "an OpenAPI schema's parts are tables"
    return table
