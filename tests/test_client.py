"""The client: sealed in three lines, whatever way the endpoint seals; what is not the service's answer is refused."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from forecourt import ConfigError, Encryption, FixedWindow, Idempotency
from forecourt.client import (
    Sealing,
    SealingTransport,
    SyncSealingTransport,
    UnsealedAnswer,
    sealed_client,
    sealed_client_sync,
)
from forecourt.types import SECOND, SystemClock
from tests.callers import settle_down
from tests.layers.sealed import PLANTED, Kind, Vault, public

ALICE = {"x-user": "alice"}


def policy(**words: object) -> Encryption:
    """Return what seals both ways."""
    return Encryption.model_validate({"request": "required", "response": "required", **words})


class Wire(httpx.AsyncBaseTransport):
    """The app in process; what has passed is kept, and `change` may put something else in an answer's place."""

    def __init__(self, service: Vault, change: Callable[[httpx.Response, bytes], httpx.Response] | None = None) -> None:
        self._inner = httpx.ASGITransport(app=service.app)
        self._change = change
        self.requests: list[httpx.Request] = []
        self.answers: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on."""
        self.requests.append(request)
        response = await self._inner.handle_async_request(request)
        body = await response.aread()
        self.answers.append(body)
        return self._change(response, body) if self._change else response


def client_of(service: Vault, wire: Wire, /, **words: object) -> httpx.AsyncClient:
    """Return a client of alice on the service's clock."""
    given = {"service": public(service.own), "own": service.alice, "format": service.form, **words}
    sealing = Sealing(clock=service.clock, **given)  # type: ignore[arg-type]  # its own words
    return httpx.AsyncClient(base_url="http://test", transport=SealingTransport(sealing, wire), headers=ALICE)


async def test_three_lines(tmp_path: Path) -> None:
    """Keys from files, on the real clock."""
    service = Vault(policy(bound=True))
    service.clock.advance(SystemClock().now() / SECOND - service.now)
    for name, key in (("service", public(service.own)), ("alice", service.alice)):
        (tmp_path / f"{name}.jwk").write_text(json.dumps(key))
    wire = Wire(service)
    async with sealed_client(
        "http://test", service=tmp_path / "service.jwk", own=str(tmp_path / "alice.jwk"), transport=wire
    ) as client:
        answer = await client.post("/", json={"amount": 1}, headers=ALICE)
    assert answer.json() == {**PLANTED, "n": 1}
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(service.bodies[0]) == {"amount": 1}
    passed = b"".join([*wire.answers, *(request.content for request in wire.requests)])
    assert b"PLANTED" not in passed
    assert b"amount" not in passed


def test_the_same_without_asyncio() -> None:
    """By `httpx.Client`; what must be waited for is slept."""
    service = Vault(policy(), rate_limit=FixedWindow(limit=1, window=10))
    slept: list[float] = []

    class Blocking(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            inner = httpx.ASGITransport(app=service.app)

            async def answered() -> httpx.Response:
                response = await inner.handle_async_request(
                    httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
                )
                return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())

            return asyncio.run(answered())

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        service.clock.advance(seconds)

    sealing = Sealing(service=public(service.own), own=service.alice, clock=service.clock)
    with httpx.Client(
        base_url="http://test", transport=SyncSealingTransport(sealing, Blocking(), sleep), headers=ALICE
    ) as client:
        assert [client.post("/", json={}).json()["n"] for _ in range(2)] == [1, 2]
    assert slept == [10]


@pytest.mark.parametrize("kind", ["x25519", "p256", "rsa", "hpke", "hybrid"])
@pytest.mark.parametrize("way", [{}, {"fields": ["/secret"]}, {"member": "encData"}])
async def test_every_way_to_seal(kind: Kind, way: dict[str, object]) -> None:
    """Both ways, by every kind of key."""
    form = "hpke" if kind in ("hpke", "hybrid") else "jwe"
    if form == "hpke" and "member" in way:
        return
    service = Vault(policy(format=form, **way), kind)
    wire = Wire(service)
    async with client_of(service, wire, **way) as client:
        posted = await client.post("/?a=1", json={"secret": "PLANTED", "n": 1})
        got = await client.get("/")
        head = await client.head("/")
    assert (posted.json()["n"], got.json()) == (1, {**PLANTED, "n": 2})
    assert json.loads(service.bodies[0]) == {"secret": "PLANTED", "n": 1}
    assert head.status_code == 200
    assert not any(b"PLANTED" in each for each in wire.answers)
    assert b"PLANTED" not in wire.requests[0].content


async def test_a_call_is_made_again_when_the_service_says_so() -> None:
    """After Retry-After, sealed anew, with the same key: carried out once."""
    service = Vault(policy(), rate_limit=FixedWindow(limit=1, window=10), idempotency=Idempotency())
    wire = Wire(service)
    async with client_of(service, wire) as client:
        assert (await client.post("/", json={})).json()["n"] == 1
        second = asyncio.create_task(client.post("/", json={}))
        async with asyncio.timeout(5):
            while len(wire.answers) < 2:
                await asyncio.sleep(0)
        await settle_down()
        assert not second.done()
        service.clock.advance(10)
        assert (await second).json()["n"] == 2
    first, refused, again = wire.requests
    assert refused.headers["idempotency-key"] == again.headers["idempotency-key"] != first.headers["idempotency-key"]
    assert refused.content != again.content


async def test_patience_has_an_end() -> None:
    """What takes longer than is waited for, and the last attempt, is handed on as it is."""
    service = Vault(policy(), rate_limit=FixedWindow(limit=1, window=10))
    async with client_of(service, Wire(service), patience=5) as client:
        statuses = [(await client.post("/", json={})).status_code for _ in range(2)]
    assert statuses == [200, 429]
    async with client_of(service, Wire(service), attempts=1) as client:
        refused = await client.post("/", json={})
    assert refused.status_code == 429
    assert refused.json()["status"] == 429


async def test_a_key_that_is_given_is_kept() -> None:
    """And a method that may be made again needs none."""
    service = Vault(policy(), idempotency=Idempotency())
    wire = Wire(service)
    async with client_of(service, wire) as client:
        await client.post("/", json={}, headers={"idempotency-key": "mine"})
        answer = await client.post("/", json={}, headers={"idempotency-key": "mine"})
        await client.get("/")
    assert [each.headers.get("idempotency-key") for each in wire.requests] == ["mine", "mine", None]
    assert answer.headers["idempotent-replayed"] == "true"


def problem(_request: Request, _body: bytes) -> Response:
    """Answer a problem of the handler's."""
    return JSONResponse({"title": "No", **PLANTED}, 422, media_type="application/problem+json")


async def test_problems() -> None:
    """The handler's are opened, the service's refusals come in plain."""
    service = Vault(policy(), answer=problem)
    async with client_of(service, Wire(service)) as client:
        answer = await client.post("/", json={})
        assert (answer.status_code, answer.json()["secret"]) == (422, PLANTED["secret"])
        assert answer.headers["content-type"] == "application/problem+json"
        refused = await client.post("/", json={}, headers={"x-user": "carol"})
        assert (refused.status_code, refused.json()["title"]) == (403, "Forbidden")


async def test_codings_and_types_of_what_is_inside() -> None:
    """The library undoes what the header says; without a type there is none."""
    import gzip

    zipped = Response(gzip.compress(b"content"), headers={"content-encoding": "gzip"})
    service = Vault(policy(), answer=lambda _request, _body: zipped)
    async with client_of(service, Wire(service)) as client:
        answer = await client.get("/")
    assert (answer.content, answer.headers.get("content-type")) == (b"content", None)


async def test_an_answer_to_another_call_is_not_believed() -> None:
    """Whoever is on the way cannot put one answer in another's place, nor change its status, nor give an old one."""
    service = Vault(policy())
    kept: list[tuple[httpx.Response, bytes]] = []

    def first(response: httpx.Response, body: bytes) -> httpx.Response:
        kept.append((response, body))
        old, content = kept[0]
        return httpx.Response(old.status_code, headers=old.headers, content=content)

    async with client_of(service, Wire(service, first)) as client:
        await client.post("/", json={})
        with pytest.raises(UnsealedAnswer, match="cannot be opened"):
            await client.post("/", json={})
        kept.clear()
        await client.get("/")
        await client.get("/")
        service.clock.advance(301)
        with pytest.raises(UnsealedAnswer, match="cannot be opened"):
            await client.get("/")
        with pytest.raises(UnsealedAnswer, match="cannot be opened"):
            await client.get("/?a=1")

    def another_status(response: httpx.Response, body: bytes) -> httpx.Response:
        return httpx.Response(404, headers=response.headers, content=body)

    async with client_of(service, Wire(service, another_status)) as client:
        with pytest.raises(UnsealedAnswer, match="cannot be opened"):
            await client.get("/")


async def test_an_answer_in_plain_is_not_believed() -> None:
    """Below 400 it could be anybody's."""
    service = Vault(policy(response="off"))
    async with client_of(service, Wire(service)) as client:
        with pytest.raises(UnsealedAnswer, match="is not sealed"):
            await client.post("/", json={})
    async with client_of(service, Wire(service), own=None) as client:
        assert (await client.post("/", json={})).json()["n"] == 2


async def test_requests_may_go_in_plain() -> None:
    """Where only answers are sealed."""
    service = Vault(policy(request="off"))
    async with client_of(service, Wire(service), service=None) as client:
        assert (await client.post("/", json={"a": 1})).json()["n"] == 1
    assert service.bodies == [b'{"a":1}']


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever kind."""
    monkeypatch.setattr("forecourt.client.MOST_ANSWER", 1000)
    service = Vault(policy(), answer=lambda _request, _body: PlainTextResponse("x" * 2000))
    async with client_of(service, Wire(service)) as client:
        with pytest.raises(UnsealedAnswer, match="longer than 1000 bytes"):
            await client.get("/")


def test_keys_that_are_of_no_use() -> None:
    """They are told when the client is made."""
    with pytest.raises(ConfigError, match="no key that opens messages of format jwe"):
        sealed_client_sync("http://test", service=None, own={"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"})
    with sealed_client_sync("http://test", service=None) as client:
        assert isinstance(client, httpx.Client)


def test_a_call_that_is_never_made() -> None:
    """It is told when the client is made, and not by its first call."""
    with pytest.raises(ConfigError, match="attempts must be at least 1, not 0"):
        Sealing(service=None, own=None, attempts=0)
