"""What does not fit a FastAPI handler is known before it is published; no dependency is called for it."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Form, Header, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from forecourt.jobs.validation import anything, validator_of
from forecourt.routing import Endpoint
from tests.asgi import call, http


class Order(BaseModel):
    """A body."""

    size: int


def never(page: int) -> int:
    """Have a field of its own; it must not be called."""
    raise AssertionError


async def handler(name: int, order: Order, x_kind: Annotated[str, Header()], page: int = Depends(never)) -> None:
    """Take a field from everywhere."""


async def form(size: Annotated[int, Form()]) -> None:
    """Take a form."""


async def nothing() -> None:
    """Take nothing."""


async def plain(request):  # type: ignore[no-untyped-def]  # as Starlette's handlers may be
    """Take a request, without saying so."""


JSON = [(b"content-type", b"application/json"), (b"x-kind", b"a")]


async def refused(
    function: object, body: bytes, query: bytes = b"page=1", headers: list[tuple[bytes, bytes]] = JSON, name: int = 1
) -> tuple[int, bytes] | None:
    """Return the answer that refuses a request, or None."""
    validator = validator_of(Endpoint("work", "/{name}", None, "http", function))
    scope = http("/1", "POST", headers=headers)
    scope.update({"query_string": query, "app": FastAPI()})
    app = await validator(scope, {"name": name}, body)
    if app is None:
        return None
    answer = await call(app, scope)
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("body", "query", "headers", "place"),
    [
        (b'{"size": "x"}', b"page=1", JSON, b'["body","size"]'),
        (b"", b"page=1", JSON, b'["body"]'),
        (b"{", b"page=1", JSON, b'["body",1]'),
        (b"size=1", b"page=1", [(b"content-type", b"text/plain"), (b"x-kind", b"a")], b'["body"]'),
        (b'{"size": 1}', b"page=x", JSON, b'["query","page"]'),
        (b'{"size": 1}', b"page=1", JSON[:1], b'["header","x-kind"]'),
    ],
)
async def test_what_does_not_fit_is_422(
    body: bytes, query: bytes, headers: list[tuple[bytes, bytes]], place: bytes
) -> None:
    """Body, query and header, those of dependencies too, in FastAPI's own words."""
    answer = await refused(handler, body, query, headers)
    assert answer is not None
    assert answer[0] == 422
    assert place in answer[1]


async def test_what_fits_passes() -> None:
    """A right request, a form (which is not looked at), a handler that takes nothing or is Starlette's."""
    assert await refused(handler, b'{"size": 1}') is None
    assert await refused(form, b"size=x") is None
    assert await refused(nothing, b"{") is None
    assert await refused(plain, b"{") is None
    assert validator_of(Endpoint("work", "/", None, "http", None)) is anything


async def test_the_app_may_word_it() -> None:
    """Where it has a handler of its own for validation errors, that one answers."""
    api = FastAPI()

    @api.exception_handler(RequestValidationError)
    async def own(request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"wrong": len(error.errors()), "length": len(await request.body())}, 418)

    scope = http("/1", "POST", headers=JSON)
    scope["app"] = api
    app = await validator_of(Endpoint("work", "/{name}", None, "http", handler))(scope, {"name": 1}, b"{}")
    assert app is not None
    answer = await call(app, scope)
    assert (answer.status, answer.body) == (418, b'{"wrong":2,"length":2}')
