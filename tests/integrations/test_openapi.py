"""The schema that FastAPI generates tells what the config asks of callers."""

from typing import Any

from fastapi import APIRouter, FastAPI

from forecourt import ApiKeys, EndpointPolicy, JobConfig, PolicyMiddleware, Security
from forecourt.integrations.openapi import document_security
from forecourt.testing import FakeIssuer
from tests.asgi import get
from tests.services import echo


def schema(config: JobConfig) -> dict[str, Any]:
    """Build an app under this config and return its schema."""
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)
    router = APIRouter(prefix="/r")

    async def handler() -> str:
        """Say nothing."""
        return ""

    for name in ("all_of", "any_of", "open_to_all", "maybe", "plain", "by_key"):
        router.add_api_route(f"/{name}", handler, name=name, methods=["GET"], responses={401: {"description": "mine"}})
    app.include_router(router)
    document_security(app, config)
    first = app.openapi()
    assert app.openapi() is first
    return first


def test_each_operation_tells_what_it_needs() -> None:
    """All scopes are one requirement, any of them several; nobody is none; what the app says itself stays."""
    config = JobConfig(
        issuers=[FakeIssuer().policy],
        api_keys=ApiKeys(store=True, header="X-Key"),
        default=EndpointPolicy(),
        endpoints={
            "all_of": EndpointPolicy(security=Security(scopes={"b", "a"}, roles={"editor", "admin"})),
            "any_of": EndpointPolicy(
                security=Security(scopes={"b", "a"}, match_scopes="any", roles={"r"}, match_roles="all")
            ),
            "open_to_all": EndpointPolicy(security=Security(public=True)),
            "maybe": EndpointPolicy(security=Security(anonymous=True, schemes={"bearer"})),
            "by_key": EndpointPolicy(security=Security(schemes={"api_key"})),
        },
    )
    told = schema(config)
    assert told["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-Key"},
    }
    operations = {path.rpartition("/")[2]: item["get"] for path, item in told["paths"].items()}
    assert operations["all_of"]["security"] == [{"bearer": ["a", "b"]}, {"api_key": []}]
    assert operations["any_of"]["security"] == [{"bearer": ["a"]}, {"bearer": ["b"]}, {"api_key": []}]
    assert operations["open_to_all"]["security"] == []
    assert operations["maybe"]["security"] == [{}, {"bearer": []}]
    assert operations["by_key"]["security"] == [{"api_key": []}]
    assert "security" not in operations["plain"]
    assert operations["all_of"]["description"] == "Say nothing.\n\nRoles: one of `admin`, `editor`."
    assert operations["any_of"]["description"].endswith("Roles: all of `r`.")
    assert operations["all_of"]["responses"]["401"]["description"] == "mine"
    refused = operations["all_of"]["responses"]["403"]["content"]["application/problem+json"]
    assert refused == {"schema": {"$ref": "#/components/schemas/Problem"}}
    assert "403" not in operations["maybe"]["responses"]


def test_sockets_are_not_in_the_schema() -> None:
    """OpenAPI has no words for them: what one asks is not told of the page at its path."""
    config = JobConfig(
        issuers=[FakeIssuer().policy],
        endpoints={
            "socket": EndpointPolicy(security=Security(scopes={"talk"})),
            "page": EndpointPolicy(security=Security(scopes={"read"})),
        },
    )
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)

    async def page() -> str:
        return ""

    app.add_api_route("/talk", page, name="page", methods=["GET"])
    app.add_api_websocket_route("/talk", echo, name="socket")
    document_security(app, config)
    (told,) = app.openapi()["paths"].values()
    assert {method: operation["security"] for method, operation in told.items()} == {"get": [{"bearer": ["read"]}]}


async def test_an_app_that_asks_nobody_tells_nothing() -> None:
    """Without credentials in the config there are no schemes; the schema is served as ever."""
    config = JobConfig(default=EndpointPolicy())
    assert schema(config)["components"]["securitySchemes"] == {}
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)
    document_security(app, config)
    assert (await get(app, "/openapi.json")).status == 200
