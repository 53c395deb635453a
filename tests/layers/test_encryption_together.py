"""Sealed contents beside the other layers: what is stored, replayed, refused and withheld."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse

from forecourt import (
    Accounts,
    Cache,
    CircuitBreaker,
    Content,
    Credits,
    Encryption,
    EndpointPolicy,
    Idempotency,
    JobConfig,
    PolicyMiddleware,
    Quota,
    Security,
    TokenBucket,
)
from forecourt.exchange import exchange_of
from forecourt.responses import FORBIDDEN
from forecourt.stores.memory import MemoryStore
from forecourt.types import Message, Receive, Scope, Send
from tests.asgi import Answer, call, http, websocket
from tests.layers.sealed import PLANTED, ByField, Vault
from tests.layers.stored import dumped
from tests.servers import Valkey

BOTH = Encryption(request="required", response="required")
KEY = (b"idempotency-key", b"k1")


def opened(service: Vault, answer: Answer, user: str = "alice") -> object:
    """Return the JSON of a sealed answer."""
    return json.loads(service.open(answer, user).content)


@pytest.mark.parametrize("form", ["jwe", "hpke"])
async def test_the_same_content_sealed_twice_is_a_replay(form: str) -> None:
    """Idempotency compares what was inside: another ciphertext of it is the same call, another content is not."""
    service = Vault(BOTH.model_copy(update={"format": form}), idempotency=Idempotency())
    first = await service.send(service.seal(), None, KEY)
    second = await service.send(service.seal(), None, KEY)
    assert (first.status, second.status, len(service.bodies)) == (200, 200, 1)
    assert second.headers["idempotent-replayed"] == "true"
    assert opened(service, first) == opened(service, second)
    assert first.body != second.body, "it is sealed anew"
    other = await service.send(service.seal(b'{"amount":2}'), None, KEY)
    assert other.status == 422
    assert json.loads(other.body)["type"].endswith("/idempotency-key-reused"), "a refusal of ours stays plain"


async def test_a_replay_is_sealed_to_the_request_that_asks_for_it() -> None:
    """Its header names the second request's id."""
    service = Vault(BOTH, idempotency=Idempotency())
    await service.send(service.seal(jti="one"), None, KEY)
    again = await service.send(service.seal(jti="two"), None, KEY)
    assert service.open(again).header["rid"] == "two"


@pytest.mark.valkey
@pytest.mark.parametrize("at_rest", [False, True])
async def test_what_is_stored_is_sealed_at_rest_or_not_at_all(valkey: Valkey, at_rest: bool) -> None:
    """End to end is between caller and service; what the store holds is the other setting's, and replays either way."""
    policy = BOTH.model_copy(update={"at_rest": at_rest})
    service = Vault(policy, idempotency=Idempotency(), config={"store": valkey.url, "keys": [b"k" * 32]})
    answers = [await service.send(service.seal(), None, KEY) for _ in range(2)]
    assert [opened(service, each) for each in answers] == [{**PLANTED, "n": 1}] * 2
    found = [held for held in dumped(valkey) if b"PLANTED" in held[2]]
    assert bool(found) is not at_rest


async def test_one_kept_answer_is_sealed_for_each_who_is_given_it() -> None:
    """The cache keeps plaintext, its ETag is of that, and a caller who has it is told so."""
    service = Vault(Encryption(response="required"), cache=Cache(ttl=60, partition="everyone"))
    first, second = await service.get(), await service.get(user="bob")
    assert len(service.bodies) == 1
    assert opened(service, first) == opened(service, second, "bob") == {**PLANTED, "n": 1}
    assert "hit" in second.headers["cache-status"]
    assert first.headers["etag"] == second.headers["etag"]
    assert second.headers["cache-control"] == "no-store"
    same = await service.get((b"if-none-match", first.headers["etag"].encode()))
    assert (same.status, same.body, same.headers["cache-control"]) == (304, b"", "no-store")


async def test_no_part_of_an_answer_is_asked_for() -> None:
    """A range of bytes would be one of the plaintext: the whole is given, with a limit above that asks first too."""
    limit = TokenBucket(max_tokens=9, refill_rate=1)
    for above in ("off", limit):
        service = Vault(Encryption(response="required"), cache=Cache(ttl=60), rate_limit=above)
        await service.get()
        part = await service.get((b"range", b"bytes=0-1"))
        assert (part.status, opened(service, part)) == (200, {**PLANTED, "n": 1})
        assert "accept-ranges" not in part.headers


def public(_request: Request, _body: bytes) -> Response:
    """Answer what any cache may keep."""
    fields = {"cache-control": "public, max-age=60", "cdn-cache-control": "max-age=60", "expires": "0"}
    return JSONResponse(PLANTED, headers=fields)


async def test_no_cache_on_the_way_stores_what_is_sealed() -> None:
    """Whatever the handler said of its own answer."""
    service = Vault(Encryption(response="required"), answer=public)
    answer = await service.get()
    assert answer.headers["cache-control"] == "no-store"
    assert not {"cdn-cache-control", "expires"} & answer.headers.keys()


async def test_refusals_of_layers_below_stay_plain() -> None:
    """A 402 says nothing of the content; it charged nothing."""
    accounts = Accounts(quota=Quota(amount=1, every="month"))
    service = Vault(BOTH, credits=Credits(amount=1), config={"accounts": accounts})
    assert (await service.send(service.seal())).status == 200
    refused = await service.send(service.seal())
    assert refused.status in (402, 429)
    assert json.loads(refused.body)["status"] == refused.status


async def test_a_request_that_does_not_open_costs_nothing() -> None:
    """What was claimed and charged before its body was read goes back."""
    accounts = Accounts(quota=Quota(amount=1, every="month"))
    service = Vault(BOTH, credits=Credits(amount=1), idempotency=Idempotency(), config={"accounts": accounts})
    assert (await service.send(b"rubbish", None, KEY)).status == 400
    assert (await service.send(service.seal(), None, KEY)).status == 200
    assert service.decisions.count(("encryption", "refused")) == 1


def breaks(_request: Request, _body: bytes) -> Response:
    """Raise, as a handler with a fault."""
    raise RuntimeError("it broke")


async def test_a_stale_answer_in_place_of_a_refusal_is_sealed() -> None:
    """The breaker refuses below, the cache gives what it has: that is the handler's, and nobody else reads it."""
    service = Vault(
        Encryption(response="required"),
        cache=Cache(ttl=1, stale_if_error=60),
        circuit_breaker=CircuitBreaker(fail_max=1, reset_timeout=60),
    )
    await service.get()
    service._answer = breaks
    service.clock.advance(2)
    stale = [await service.get(), await service.get()]
    assert [each.status for each in stale] == [200, 200]
    assert ("circuit_breaker", "open") in service.decisions
    assert all(b"PLANTED" not in each.body for each in stale)
    assert [opened(service, each) for each in stale] == [{**PLANTED, "n": 1}] * 2


async def test_an_answer_that_looks_like_a_refusal_is_sealed() -> None:
    """Only the bytes of the one that was given pass as they are."""
    service = Vault(BOTH, answer=lambda _request, _body: JSONResponse({"status": 402}, 402))
    answer = await service.send(service.seal())
    assert opened(service, answer) == {"status": 402}


def replaced(request: Request, _body: bytes) -> Response:
    """Answer with contents after something below has refused, and with the same status."""
    exchange_of(request.scope).refuse(FORBIDDEN)
    return JSONResponse({**PLANTED, "status": 403}, 403, media_type="application/problem+json")


async def test_contents_in_place_of_a_refusal_are_sealed() -> None:
    """That something was refused does not make plain what was answered instead, with whatever status."""
    service = Vault(BOTH, answer=replaced)
    answer = await service.send(service.seal())
    assert answer.status == 403
    assert opened(service, answer) == {**PLANTED, "status": 403}


async def test_media_types_below_are_those_of_the_content() -> None:
    """What an endpoint takes and gives is said of what is inside."""
    policy = Content(accepts={"application/json"}, produces={"application/json"})
    service = Vault(BOTH, content=policy)
    answer = await service.send(service.seal(), None, (b"accept", b"application/jose"))
    assert answer.status == 200
    assert (await service.send(service.seal(kind="text/plain"))).status == 415


async def counting() -> AsyncIterator[bytes]:
    """Yield for ever."""
    while True:
        yield b"x" * 1000
        await asyncio.sleep(0)


@pytest.mark.parametrize("media", ["text/event-stream", "application/json"])
@pytest.mark.parametrize("form", [BOTH, Encryption(response="required", fields=("/a",))])
async def test_an_answer_that_never_ends_is_withheld(media: str, form: Encryption) -> None:
    """500 in plain, and the handler is told that nobody listens; nothing of it has left."""
    policy = form.model_copy(update={"max_body": 5000, "request": "off"})
    service = Vault(policy, answer=lambda _request, _body: StreamingResponse(counting(), media_type=media))
    async with asyncio.timeout(5):
        answer = await service.get()
    assert answer.status == 500
    assert json.loads(answer.body)["type"].endswith("/answer-not-sealable")
    assert ("encryption", "failed") in service.decisions


async def test_an_answer_that_is_too_large_is_carried_out_once_all_the_same() -> None:
    """Nobody is told it, and nobody does it again: with the key it is an outcome that is known to the store only."""
    policy = BOTH.model_copy(update={"max_body": 2000})
    service = Vault(policy, answer=lambda _request, _body: PlainTextResponse("x" * 3000), idempotency=Idempotency())
    first = await service.send(service.seal(), None, KEY)
    second = await service.send(service.seal(), None, KEY)
    assert (first.status, len(service.bodies)) == (500, 1)
    assert second.status in (409, 500)


async def test_a_file_is_sealed(tmp_path: Path) -> None:
    """The server is not asked to send it by its path."""
    path = tmp_path / "file"
    path.write_bytes(b"PLANTED" * 10)
    service = Vault(BOTH, answer=lambda _request, _body: FileResponse(path, media_type="text/plain"))
    answer = await service.send(service.seal())
    assert answer.kinds == ["http.response.start", "http.response.body"]
    assert service.open(answer).content == path.read_bytes()


async def test_a_handler_that_raises_is_answered_for() -> None:
    """By the stack or the framework, outside of all that is sealed, in words that say nothing."""
    service = Vault(BOTH, answer=breaks)
    with pytest.raises(RuntimeError, match="it broke"):
        await service.send(service.seal())


async def test_two_processes_open_what_a_caller_sealed_once() -> None:
    """Both have the same key; a store that they share makes it one call."""
    store = MemoryStore(Vault(BOTH).clock)
    one, two = (Vault(BOTH, store=store, idempotency=Idempotency()) for _ in range(2))
    sealed = one.seal()
    first, second = await one.send(sealed, None, KEY), await two.send(sealed, None, KEY)
    assert opened(one, first) == opened(two, second)
    assert (len(one.bodies), len(two.bodies)) == (1, 0)


async def test_websockets_pass_where_an_endpoint_takes_both() -> None:
    """Their messages are not contents, also where a limit beside asks the store."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])
        await send({"type": "websocket.accept"})

    policy = EndpointPolicy(encryption=BOTH, security=Security(), rate_limit=TokenBucket(max_tokens=5, refill_rate=1))
    config = JobConfig(
        default=policy,
        routes={"any": "/{path:path}"},
        authenticators={"field": ByField()},
        payload_keys=Vault(BOTH).config.payload_keys,
    )
    carol = {**websocket("/"), "headers": [(b"x-user", b"carol")]}  # without a key
    for layers in (None, ("security", "rate_limit", "encryption")):
        await call(PolicyMiddleware(app, config=config, layers=layers), carol)
    assert seen == ["websocket", "websocket"]


async def test_a_caller_who_leaves_before_the_content_has_come() -> None:
    """Nothing is answered, and nothing has run."""
    service = Vault(BOTH)
    scope = http("/", "POST", headers=[(b"x-user", b"alice"), (b"content-type", b"application/jose")])
    more: Message = {"type": "http.request", "body": b"ey", "more_body": True}
    answer = await call(service.app, scope, more)
    assert (answer.messages, service.bodies) == ([], [])


@pytest.mark.parametrize("last", ["http.response.pathsend", "http.response.zerocopysend"])
async def test_an_app_that_sends_what_it_was_not_offered(last: str) -> None:
    """It is not given: only the server would know what it is."""
    answer = await call(answering({"type": last, "path": "/etc/hostname"}), http("/", headers=[(b"x-user", b"alice")]))
    assert answer.status == 500
    assert answer.kinds == ["http.response.start", "http.response.body"]


async def test_hints_pass_and_trailers_do_not() -> None:
    """What comes before an answer says nothing of it; what comes after it would stand beside what is sealed."""
    hints: Message = {"type": "http.response.early_hint", "links": [b"</a>"]}
    body: Message = {"type": "http.response.body", "body": b"content"}
    app = answering(hints, body, body, {"type": "http.response.trailers", "headers": [(b"a", b"b")]})
    answer = await call(app, http("/", headers=[(b"x-user", b"alice")]))
    assert answer.kinds == ["http.response.early_hint", "http.response.start", "http.response.body"]
    assert "trailers" not in answer.starts[0]
    assert Vault(BOTH).of("alice").open(answer.body).content == b"content"


def answering(*messages: Message) -> PolicyMiddleware:
    """Return an app that answers so, under a stack that seals."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        for message in messages:
            await send(message)

    service = Vault(BOTH)
    policy = EndpointPolicy(encryption=Encryption(response="required"), security=Security())
    config = JobConfig(
        default=policy,
        routes={"any": "/{path:path}"},
        payload_keys=service.config.payload_keys,
        authenticators={"field": ByField()},
    )
    return PolicyMiddleware(app, config=config)
