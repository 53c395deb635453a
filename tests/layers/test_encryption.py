"""Contents that are sealed from end to end: what opens, what is refused, and who can read the answers."""

import json

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from forecourt import Encryption
from forecourt.core.payload import path_hash
from tests.asgi import call, http
from tests.layers.sealed import MEDIA, PLANTED, Kind, Vault

KINDS: tuple[Kind, ...] = ("x25519", "p256", "rsa", "hpke", "hybrid")
REQUIRED = Encryption(request="required", response="required")


def required(kind: Kind, **words: object) -> Encryption:
    """Return the policy that seals both ways, in the format of this kind of key."""
    form = "hpke" if kind in ("hpke", "hybrid") else "jwe"
    return Encryption.model_validate({"request": "required", "response": "required", "format": form, **words})


@pytest.mark.parametrize("kind", KINDS)
async def test_contents_are_sealed_both_ways(kind: Kind) -> None:
    """The handler sees what was inside, the wire shows nothing of it, and the answer opens for its caller alone."""
    service = Vault(required(kind), kind)
    answer = await service.send(service.seal(b'{"amount":7}'))
    assert (answer.status, service.bodies) == (200, [b'{"amount":7}'])
    assert service.seen["content-type"] == "application/json"
    assert service.seen["content-length"] == "12"
    assert answer.headers["content-type"].encode() == MEDIA[service.form]
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert b"PLANTED" not in answer.body
    header, content = service.open(answer)
    assert json.loads(content) == {**PLANTED, "n": 1}
    expected = {"cty": "application/json", "htm": "POST", "pth": path_hash(b"/"), "sts": 200, "rid": "id-1"}
    assert expected.items() <= header.items()
    assert header["kid"] == "alice"
    with pytest.raises(ValueError, match="cannot be opened"):
        service.open(answer, "bob")


@pytest.mark.parametrize("kind", [b"application/json", b"", b"text/plain"])
async def test_plain_content_is_refused_where_it_must_be_sealed(kind: bytes) -> None:
    """415 in plain, with the media type that is taken; the handler has not run."""
    service = Vault(REQUIRED)
    answer = await service.send(b'{"amount":1}', kind)
    assert (answer.status, answer.headers["accept"]) == (415, "application/jose")
    problem = json.loads(answer.body)
    assert problem["type"].endswith("/content-not-sealed")
    assert problem["accepts"] == ["application/jose"]
    assert service.bodies == []


async def test_content_that_was_not_announced_is_refused_too() -> None:
    """HTTP/2 needs neither length nor type: what comes all the same is not let through."""
    service = Vault(REQUIRED)
    scope = http("/", "POST", headers=[(b"x-user", b"alice")])
    answer = await call(service.app, scope, {"type": "http.request", "body": b"{}", "more_body": False})
    assert (answer.status, service.bodies) == (415, [])


async def test_a_call_without_content_has_nothing_to_open() -> None:
    """GET passes, and its answer is sealed."""
    service = Vault(REQUIRED)
    answer = await service.get()
    assert answer.status == 200
    header, content = service.open(answer)
    assert json.loads(content)["secret"] == PLANTED["secret"]
    assert "rid" not in header


async def test_head_has_fields_and_nothing_else() -> None:
    """No body is sealed where there is none; the length of what would be is not known."""
    service = Vault(REQUIRED)
    answer = await service.get(method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert "content-length" not in answer.headers


async def test_a_caller_without_a_key_is_refused_before_anything_is_done() -> None:
    """403 in plain."""
    service = Vault(REQUIRED)
    answer = await service.send(service.seal(), user="carol")
    assert (answer.status, service.bodies) == (403, [])
    assert json.loads(answer.body)["type"].endswith("/no-encryption-key")


@pytest.mark.parametrize(
    "said",
    [
        {"htm": "PUT"},
        {"htm": 1},
        {"pth": path_hash(b"/other")},
        {"pth": None},
        {"iat": 0},
        {"iat": "now"},
        {"iat": True},
        {"iat": float("inf")},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 129},
        {"jti": 7},
        {"sub": "bob"},
        {"sts": 200},
        {"rid": "id-1"},
        {"ptr": "/a"},
        {"cty": "a\r\nb: c"},
        {"cty": 5},
    ],
)
async def test_a_message_of_another_call_does_not_open(said: dict[str, object]) -> None:
    """Method, path, time, id, subject, kind: each is held to, with one and the same answer."""
    service = Vault(required("hpke"), "hpke")  # of JWE not every one of these can be made
    answer = await service.send(service.seal(**said))  # type: ignore[arg-type]  # none of them is `kind`
    assert (answer.status, service.bodies) == (400, [])
    assert json.loads(answer.body)["type"].endswith("/content-not-opened")


@pytest.mark.parametrize(("late", "status"), [(300, 200), (301, 400), (-300, 200), (-301, 400)])
async def test_a_message_counts_for_a_while(late: int, status: int) -> None:
    """Both ways, as clocks differ."""
    service = Vault(REQUIRED)
    assert (await service.send(service.seal(iat=service.now - late))).status == status


async def test_a_message_may_say_whose_it_is() -> None:
    """With the subject in it, nobody else's credentials go with it."""
    service = Vault(REQUIRED)
    sealed = service.seal(sub="alice")
    assert (await service.send(sealed)).status == 200
    assert (await service.send(sealed, user="bob")).status == 400


async def test_without_binding_what_is_said_is_held_to_all_the_same() -> None:
    """Senders that know nothing of it may leave it out; the time they must say."""
    service = Vault(required("x25519", bound=False))
    header = {"cty": "application/json", "iat": service.now}
    assert (await service.send(service.to_service().seal(header, b"{}"))).status == 200
    for more in ({"htm": "PUT", "pth": path_hash(b"/")}, {"htm": "POST"}, {"iat": 0}):
        assert (await service.send(service.to_service().seal({**header, **more}, b"{}"))).status == 400
    assert len(service.bodies) == 1


async def test_the_path_is_the_one_that_was_sent_with_its_query() -> None:
    """So that a message is of one resource."""
    service = Vault(REQUIRED)
    sealed = service.seal(pth=path_hash(b"/?a=1"))
    assert (await service.send(sealed, query=b"a=1")).status == 200
    assert (await service.send(sealed, query=b"a=2")).status == 400
    assert (await service.send(sealed)).status == 400


async def test_too_large_a_message_is_not_read_to_its_end() -> None:
    """413."""
    service = Vault(required("x25519", max_body=1000))
    answer = await service.send(service.seal(b"x" * 1000))
    assert (answer.status, service.bodies) == (413, [])


def fails(request: Request, body: bytes) -> Response:
    """Answer as a handler that refuses."""
    return JSONResponse({**PLANTED}, 422, media_type="application/problem+json")


async def test_a_handlers_problems_are_sealed() -> None:
    """They say something of the content; the status is outside and in the header, which nobody can change."""
    service = Vault(REQUIRED, answer=fails)
    answer = await service.send(service.seal())
    assert answer.status == 422
    assert b"PLANTED" not in answer.body
    header, content = service.open(answer)
    assert (header["sts"], header["cty"], json.loads(content)) == (422, "application/problem+json", PLANTED)


async def test_what_is_optional() -> None:
    """Plain for plain, sealed for sealed or for who accepts sealed content; those without a key are told."""
    service = Vault(Encryption(request="optional", response="optional"))
    plain = await service.send(b"{}", b"application/json")
    assert (plain.status, json.loads(plain.body)["n"]) == (200, 1)
    assert plain.headers["vary"] == "Accept"
    sealed = await service.send(service.seal())
    assert json.loads(service.open(sealed).content)["n"] == 2
    asked = await service.get((b"accept", b"text/html, application/jose"))
    assert json.loads(service.open(asked).content)["n"] == 3
    assert service.seen["accept"] == "text/html"
    assert (await service.get((b"accept", b"application/jose"), user="carol")).status == 403
    assert (await service.send(b"{}", b"application/json", user="carol")).status == 200


async def test_requests_alone_may_be_sealed() -> None:
    """Then answers are plain, also to those who have no key."""
    service = Vault(Encryption(request="required"))
    answer = await service.send(service.seal(), user="carol")
    assert json.loads(answer.body) == {**PLANTED, "n": 1}


async def test_answers_alone_may_be_sealed() -> None:
    """Then requests are plain, and what looks sealed is the handler's."""
    service = Vault(Encryption(response="required"))
    answer = await service.send(b"anything", b"application/jose")
    assert service.bodies == [b"anything"]
    assert json.loads(service.open(answer).content)["n"] == 1


async def test_a_message_in_a_member() -> None:
    """The JWE stands in a JSON object, alone, both ways."""
    service = Vault(required("x25519", member="encData"))
    sealed = json.dumps({"encData": service.seal(b'{"amount":1}').decode()}).encode()
    answer = await service.send(sealed, b"application/json")
    assert (answer.status, service.bodies) == (200, [b'{"amount":1}'])
    assert answer.headers["content-type"] == "application/json"
    body = json.loads(answer.body)
    assert [*body] == ["encData"]
    assert json.loads(service.of("alice").open(body["encData"].encode()).content)["n"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"encData": "x"}', 400),
        (b'{"encData": "x", "more": 1}', 415),
        (b'{"encData": 1}', 415),
        (b'{"encData": "x", "encData": "y"}', 415),
        (b"[]", 415),
        (b"{", 415),
        (b"[" * 100_000, 415),
        (b'{"encData": "\\ud800"}', 400),
    ],
)
async def test_members_that_hold_no_message(body: bytes, status: int) -> None:
    """What is not sealed is refused as such; what is there and does not open, as that."""
    service = Vault(required("x25519", member="encData"))
    assert (await service.send(body, b"application/json")).status == status
    optional = Vault(Encryption(request="optional", member="encData"))
    assert (await optional.send(body, b"application/json")).status == (400 if status == 400 else 200)


async def test_an_answer_without_a_type_or_with_a_coding() -> None:
    """What is inside is said in the header, and only there."""
    service = Vault(
        REQUIRED,
        answer=lambda _request, _body: Response(b"zipped", headers={"content-encoding": "gzip", "etag": '"1"'}),
    )
    answer = await service.get((b"accept-encoding", b"gzip"), (b"range", b"bytes=0-1"))
    assert not {"accept-encoding", "range"} & service.seen.keys()
    header, content = service.open(answer)
    assert (header.get("ce"), header.get("cty"), content) == ("gzip", None, b"zipped")
    assert "content-encoding" not in answer.headers
    assert answer.headers["etag"] == '"1"'


async def test_a_coding_within_a_request() -> None:
    """It is the handler's to undo."""
    service = Vault(REQUIRED)
    await service.send(service.seal(b"zipped", ce="gzip", cty="plain"))
    assert (service.seen["content-encoding"], service.seen["content-type"]) == ("gzip", "application/plain")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content(status: int) -> None:
    """There is nothing to seal."""
    service = Vault(REQUIRED, answer=lambda _request, _body: Response(status_code=status, headers={"etag": '"1"'}))
    answer = await service.get()
    assert (answer.status, answer.body, answer.headers["etag"]) == (status, b"", '"1"')


async def test_empty_content_is_sealed() -> None:
    """That it is empty nobody else can say."""
    service = Vault(REQUIRED, answer=lambda _request, _body: PlainTextResponse(""))
    assert service.open(await service.get()).content == b""


async def test_large_contents_go_through_a_thread() -> None:
    """And come out the same."""
    service = Vault(REQUIRED, answer=lambda _request, body: Response(body))
    large = bytes(range(256)) * 1024
    assert service.open(await service.send(service.seal(large))).content == large
