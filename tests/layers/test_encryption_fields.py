"""Fields that are sealed in place: the rest stays as it was written, and no field opens elsewhere."""

import json

import pytest
from starlette.responses import PlainTextResponse, Response

from forecourt import Encryption
from forecourt.auth.compact import encoded
from forecourt.core.payload import Call, of_request
from tests.layers.sealed import Kind, Vault

KINDS: tuple[Kind, ...] = ("x25519", "hpke", "hybrid")
CARD = "/card/number"


def vault(kind: Kind = "x25519", reply: str = "{}", media: str = "application/json", **words: object) -> Vault:
    """Return a service that seals the card's number and code both ways."""
    form = "jwe" if kind == "x25519" else "hpke"
    given = {"request": "required", "response": "required", "format": form, "fields": [CARD, "/codes/1"], **words}
    answer = Response(reply.encode(), media_type=media)
    return Vault(Encryption.model_validate(given), kind, answer=lambda _request, _body: answer)


def field(service: Vault, value: object, pointer: str = CARD, **said: object) -> dict[str, str]:
    """Return what stands in place of a value."""
    header = of_request(Call("POST", b"/"), service.now, "id-1", "application/json", pointer=pointer)
    message = service.to_service().seal({**header, **said}, json.dumps(value).encode())
    return {"sealed": encoded(message) if service.form == "hpke" else message.decode()}


async def posted(service: Vault, text: str, kind: bytes = b"application/json") -> int:
    """Return the status of a call with this body."""
    return (await service.send(text.encode(), kind)).status


@pytest.mark.parametrize("kind", KINDS)
async def test_chosen_values_are_sealed_in_place(kind: Kind) -> None:
    """Byte for byte the same around them, both ways; their media type was theirs all along."""
    reply = '{ "card" : {"number":"4111", "n": 1.10},\n "codes":[0, {"a": [1.0, 2]}, 2] }'
    service = vault(kind, reply)
    text = '{"big": 1e400, "card": {"number": %s}, "codes": [ 1,%s]}'
    sent = text % (json.dumps(field(service, "4111")), json.dumps(field(service, 77, "/codes/1")))
    answer = await service.send(sent.encode(), b"application/json; charset=utf-8")
    assert service.bodies == [(text % ('"4111"', "77")).encode()]
    assert service.seen["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert b"4111" not in answer.body
    body = json.loads(answer.body)
    assert body["card"]["n"] == 1.1
    opened = {}
    for pointer, place in ((CARD, body["card"]["number"]), ("/codes/1", body["codes"][1])):
        message = place["sealed"]
        from_text = message.encode() if kind == "x25519" else _decoded(message)
        header, content = service.of("alice").open(from_text)
        assert (header["ptr"], header["rid"], header["sts"]) == (pointer, "id-1", 200)
        opened[pointer] = content
    assert opened == {CARD: b'"4111"', "/codes/1": b'{"a": [1.0, 2]}'}
    around = answer.body.decode().replace(json.dumps(body["card"]["number"]), '"4111"')
    assert around.replace(json.dumps(body["codes"][1]), '{"a": [1.0, 2]}') == reply


def _decoded(text: str) -> bytes:
    from forecourt.auth.compact import decoded

    return decoded(text)


async def test_fields_that_are_not_there() -> None:
    """Nothing is sealed where nothing stands."""
    service = vault()
    answer = await service.send(b'{"codes": []}', b"application/json")
    assert (answer.status, answer.body, service.bodies) == (200, b"{}", [b'{"codes": []}'])


@pytest.mark.parametrize(
    "text",
    [
        '{"card": {"number": "4111"}}',
        '{"card": {"number": null}}',
        '{"card": {"number": {"sealed": 1}}}',
        '{"card": {"number": {"sealed": "x", "more": 1}}}',
        '{"card": {"number": 1}, "card": {}}',
        "[",
        "",
        "\ufeff{}",
        '{"card": NaN}',
        "[" * 100_000,
    ],
)
async def test_fields_that_must_be_sealed_and_are_not(text: str) -> None:
    """415, also where it cannot be told."""
    service = vault()
    assert await posted(service, text) == 415
    assert service.bodies == []


async def test_other_media_types_have_no_fields() -> None:
    """415 in, and no answer out that could hold what must be sealed."""
    service = vault()
    assert await posted(service, "number=4111", b"application/x-www-form-urlencoded") == 415
    assert (await vault(media="text/csv", reply="4111").get()).status == 500
    assert (await vault(reply="{").get()).status == 500
    assert (await vault(reply='{"a": 1, "a": 2}').get()).status == 500
    assert (await vault(media="application/problem+json").get()).status == 200


async def test_a_field_opens_where_it_was_put_and_nowhere_else() -> None:
    """Its pointer is in its header, as is the id that all fields of a request share."""
    service = vault()
    right, other = field(service, "4111"), field(service, 1, "/codes/1")
    assert await posted(service, json.dumps({"card": {"number": right}, "codes": [0, other]})) == 200
    assert await posted(service, json.dumps({"card": {"number": other}, "codes": [0, right]})) == 400
    assert await posted(service, json.dumps({"card": {"number": right}, "codes": [0, right]})) == 400
    stranger = field(service, 1, "/codes/1", jti="id-2")
    assert await posted(service, json.dumps({"card": {"number": right}, "codes": [0, stranger]})) == 400
    whole = service.seal(b"1").decode()
    assert await posted(service, json.dumps({"card": {"number": {"sealed": whole}}})) == 400


async def test_what_is_in_a_field_must_be_json() -> None:
    """Or a value could end where it stands, and say something beside itself."""
    service = vault()
    header = of_request(Call("POST", b"/"), service.now, "id-1", "application/json", pointer=CARD)
    for content in (b'1, "admin": true', b"", b"\xff"):
        sealed = {"sealed": service.to_service().seal(header, content).decode()}
        assert await posted(service, json.dumps({"card": {"number": sealed}})) == 400
    assert service.bodies == []


@pytest.mark.parametrize("kind", ["x25519", "hpke"])
async def test_rubbish_in_a_field(kind: Kind) -> None:
    """400, whatever it is."""
    service = vault(kind)
    for rubbish in ("", "x", "!!", "AA=="):
        assert await posted(service, json.dumps({"card": {"number": {"sealed": rubbish}}})) == 400


async def test_what_is_optional() -> None:
    """Each field for itself; answers are sealed to those who have a key."""
    service = vault(reply='{"card": {"number": 5}}', request="optional", response="optional")
    assert await posted(service, '{"card": {"number": 1}}') == 200
    mixed = {"card": {"number": field(service, 2)}, "codes": [0, 3]}
    assert await posted(service, json.dumps(mixed)) == 200
    assert await posted(service, "rubbish") == 200
    assert [json.loads(each)["card"]["number"] for each in service.bodies[:2]] == [1, 2]
    assert "sealed" in json.loads((await service.get()).body)["card"]["number"]
    assert json.loads((await service.get(user="carol")).body) == {"card": {"number": 5}}
    assert (await vault().get(user="carol")).status == 403


async def test_refusals_stay_plain_and_problems_have_their_fields_sealed() -> None:
    """What a handler says in a problem is content too."""
    reply = '{"title": "No", "card": {"number": "4111"}}'
    service = vault(reply=reply, media="application/problem+json")
    body = json.loads((await service.get()).body)
    assert (body["title"], [*body["card"]["number"]]) == ("No", ["sealed"])
    refused = await service.send(b'{"card": {"number": 1}}', b"application/json")
    assert json.loads(refused.body)["status"] == 415


async def test_plain_answers_without_fields_of_a_service_that_seals_requests_only() -> None:
    """Nothing is held."""
    policy = Encryption(request="required", fields=(CARD,))
    service = Vault(policy, answer=lambda _request, _body: PlainTextResponse("done"))
    assert (await service.send(b"{}", b"application/json", user="carol")).body == b"done"
