"""The schema tells how contents are sealed, and what is inside."""

from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from forecourt import Encryption, EndpointPolicy, JobConfig, PayloadKeys, PolicyMiddleware, Security
from forecourt.integrations.openapi import document_policies
from forecourt.testing import FakeIssuer
from tests.layers.sealed import as_bytes, private, public

ORDER = {"$ref": "#/components/schemas/Order"}
INVALID = {"$ref": "#/components/schemas/HTTPValidationError"}


class Order(BaseModel):
    """What is ordered."""

    amount: int


def operation(encryption: Encryption, method: str = "post") -> dict[str, Any]:
    """Return what the schema tells of an endpoint that takes and gives an order; by GET it gives one, maybe as text."""
    keys = PayloadKeys(
        own=[as_bytes(private("x25519", "own"))], callers={"iss": {"alice": public(private("x25519", "alice"))}}
    )
    config = JobConfig(
        issuers=[FakeIssuer().policy],
        payload_keys=keys,
        default=EndpointPolicy(),
        endpoints={name: EndpointPolicy(security=Security(), encryption=encryption) for name in ("order", "look")},
    )
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)

    @app.post("/order", name="order")
    async def order(order: Order) -> Order:
        return order

    @app.get("/order", name="look", responses={200: {"content": {"text/csv": {}}}})
    async def look() -> Order:
        return Order(amount=1)

    document_policies(app, config)
    told: dict[str, Any] = app.openapi()["paths"]["/order"][method]
    return told


def inside(schema: object, media: str = "application/json") -> dict[str, object]:
    """Return how a message with this inside is told."""
    return {"type": "string", "contentMediaType": media, "contentSchema": schema}


@pytest.mark.parametrize("form", ["jwe", "hpke"])
def test_the_plaintext_is_told_to_be_inside(form: str) -> None:
    """Request, answer and the handler's problems; refusals of the stack stay what they are."""
    told = operation(Encryption.model_validate({"request": "required", "response": "required", "format": form}))
    media = "application/jose" if form == "jwe" else "application/vnd.forecourt.hpke"
    binary = {} if form == "jwe" else {"format": "binary"}
    assert told["requestBody"]["content"] == {media: {"schema": {**inside(ORDER), **binary}}}
    assert told["responses"]["200"]["content"] == {media: {"schema": {**inside(ORDER), **binary}}}
    assert told["responses"]["422"]["content"][media]["schema"]["contentSchema"] == INVALID
    assert {*told["responses"]["400"]["content"]} == {media, "application/problem+json"}  # FastAPI's own 400 is sealed
    for status in ("401", "403", "413", "415", "500"):
        assert [*told["responses"][status]["content"]] == ["application/problem+json"], status
    assert "Accept" in told["responses"]["415"]["headers"]


def test_what_is_optional_is_told_both_ways() -> None:
    """Each by its media type."""
    told = operation(Encryption(request="optional", response="optional"))
    both = {"application/json": {"schema": ORDER}, "application/jose": {"schema": inside(ORDER)}}
    assert told["requestBody"]["content"] == both
    assert told["responses"]["200"]["content"] == both
    assert "415" not in told["responses"]


def test_one_way_only() -> None:
    """The other is told as ever."""
    told = operation(Encryption(request="required"))
    assert [*told["requestBody"]["content"]] == ["application/jose"]
    assert told["responses"]["200"]["content"] == {"application/json": {"schema": ORDER}}
    assert "500" not in told["responses"]
    told = operation(Encryption(response="required"))
    assert [*told["requestBody"]["content"]] == ["application/json"]
    assert "400" not in {status for status, each in told["responses"].items() if "opened" in each["description"]}


def test_a_member() -> None:
    """A JSON object with a message in it; where it is optional, either."""
    wrapped = {"type": "object", "properties": {"encData": inside(ORDER)}, "required": ["encData"]}
    told = operation(Encryption(request="required", response="optional", member="encData"))
    assert told["requestBody"]["content"] == {"application/json": {"schema": wrapped}}
    assert told["responses"]["200"]["content"] == {"application/json": {"schema": {"oneOf": [ORDER, wrapped]}}}


def test_fields() -> None:
    """Which they are is said beside the schema, which is the plaintext's."""
    told = operation(Encryption(request="required", response="required", fields=("/amount",)))
    sealed = {"pointers": ["/amount"], "member": "sealed", "format": "application/jose"}
    assert told["requestBody"]["content"] == {"application/json": {"schema": ORDER, "x-sealed-fields": sealed}}
    assert told["responses"]["200"]["content"]["application/json"]["x-sealed-fields"] == sealed


def test_fields_of_json_alone() -> None:
    """What is answered in another form has no fields that could be sealed; nor is there a body where none is taken."""
    told = operation(Encryption(request="required", response="required", fields=("/amount",)), "get")
    content = told["responses"]["200"]["content"]
    assert ["x-sealed-fields" in content[media] for media in ("application/json", "text/csv")] == [True, False]
    assert "requestBody" not in told


def test_no_body_is_told_where_none_is_taken() -> None:
    """The answer's content is sealed in each of its forms."""
    told = operation(Encryption(request="required", response="required"), "get")
    assert "requestBody" not in told
    (message,) = told["responses"]["200"]["content"].values()
    assert message["schema"] == {"oneOf": [inside(ORDER), {"type": "string", "contentMediaType": "text/csv"}]}


def test_at_rest_nothing_is_told() -> None:
    """Callers see nothing of it."""
    assert operation(Encryption()) == operation(Encryption())
    assert [*operation(Encryption())["requestBody"]["content"]] == ["application/json"]
