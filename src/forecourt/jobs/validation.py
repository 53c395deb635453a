"""Does a request fit its handler? Known before the job is published, where the handler is FastAPI's.

Path, query, header and cookie parameters and a JSON body are checked, those of dependencies too, as FastAPI itself does
it; no dependency is called. The answer is the one that the app would give: its own handler of validation errors, else
FastAPI's. FastAPI is never imported: where it is not loaded, no handler is its.
"""

import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from starlette.requests import Request

from forecourt.routing import Endpoint
from forecourt.types import ASGIApp, Message, Scope

Validator = Callable[[Scope, Mapping[str, object], bytes], Awaitable[ASGIApp | None]]
"""(scope, converted path parameters, body) → the answer that refuses it, or None."""


_PLACES = ("path_params", "query_params", "header_params", "cookie_params", "body_params")


async def anything(_scope: Scope, _params: Mapping[str, object], _body: bytes) -> ASGIApp | None:
    """Refuse nothing: what is not FastAPI's says only itself what it takes."""
    return None


def validator_of(endpoint: Endpoint) -> Validator:
    """Return what checks requests of an endpoint; call it when the app has been built."""
    dependencies = sys.modules.get("fastapi.dependencies.utils")
    handler = endpoint.handler
    if dependencies is None or not inspect.isroutine(handler):
        return anything
    try:
        flat = _flat(dependencies.get_dependant(path=endpoint.path, call=handler))
        embed = bool(dependencies._should_embed_body_fields(flat["body_params"]))
    except Exception:  # noqa: BLE001  # a plain Starlette handler, or a FastAPI whose inside has changed
        return anything
    if _takes_bare(handler, flat):
        return anything
    return _Fields(dependencies, flat, embed=embed)


def _flat(dependant: Any) -> dict[str, list[Any]]:
    """Return all fields by their place, those of dependencies too, each once."""
    flat = {place: {field.name: field for field in getattr(dependant, place)} for place in _PLACES}
    for inner in dependant.dependencies:
        for place, fields in _flat(inner).items():
            flat[place] |= {field.name: field for field in fields}
    return {place: list(fields.values()) for place, fields in flat.items()}


def _takes_bare(handler: Callable[..., object], flat: Mapping[str, Sequence[Any]]) -> bool:
    """Whether FastAPI would take a parameter without annotation for a field: it is the request of Starlette's."""
    parameters = inspect.signature(handler).parameters.values()
    taken = {field.name for field in (*flat["query_params"], *flat["body_params"])}
    return any(each.annotation is inspect.Parameter.empty and each.name in taken for each in parameters)


class _Fields:
    """Checks the fields of one FastAPI handler."""

    def __init__(self, dependencies: ModuleType, flat: Mapping[str, list[Any]], *, embed: bool) -> None:
        self._to_args = dependencies.request_params_to_args
        self._body_to_args = dependencies.request_body_to_args
        self._flat = flat
        self._embed = embed
        kinds = {type(field.field_info).__name__ for field in flat["body_params"]}
        self._json = bool(kinds) and kinds.isdisjoint({"Form", "File"})

    async def __call__(self, scope: Scope, params: Mapping[str, object], body: bytes) -> ASGIApp | None:
        request = Request(scope)
        texts = {name: str(value) for name, value in params.items()}
        flat = self._flat
        errors: list[Any] = []
        for fields, values in (
            (flat["path_params"], texts),
            (flat["query_params"], request.query_params),
            (flat["header_params"], request.headers),
            (flat["cookie_params"], request.cookies),
        ):
            errors += self._to_args(fields, values)[1]
        parsed: object = None
        if self._json:
            parsed, wrong = _parsed(request, body)
            errors += wrong
            if not wrong:
                _, more = await self._body_to_args(
                    body_fields=flat["body_params"], received_body=parsed, embed_body_fields=self._embed
                )
                errors += more
        return await _answer(scope, body, errors, parsed) if errors else None


def _parsed(request: Request, body: bytes) -> tuple[object, list[object]]:
    """Return the body as FastAPI would read it, or what is wrong with it."""
    if not body:
        return None, []
    content = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if not (content == "application/json" or content.endswith("+json")):
        return body, []
    try:
        return json.loads(body), []
    except ValueError as error:
        place = getattr(error, "pos", 0)
        said = {"type": "json_invalid", "loc": ("body", place), "msg": "JSON decode error", "input": {}}
        return None, [said | {"ctx": {"error": getattr(error, "msg", "not text")}}]


async def _answer(scope: Scope, body: bytes, errors: Sequence[object], parsed: object) -> ASGIApp:
    """Answer as the app would have."""
    exceptions, handlers = sys.modules["fastapi.exceptions"], sys.modules["fastapi.exception_handlers"]
    kind = exceptions.RequestValidationError
    default = handlers.request_validation_exception_handler
    own = getattr(scope.get("app"), "exception_handlers", {}).get(kind, default)

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    told = own(Request(scope, receive), kind(errors, body=parsed))
    response: ASGIApp = await told if inspect.isawaitable(told) else told
    return response
