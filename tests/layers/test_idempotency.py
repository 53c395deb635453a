"""Idempotency in the stack: carried out once, replayed to its caller, and refused where neither can be."""

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from forecourt import EndpointPolicy, FixedWindow, Idempotency, JobConfig
from forecourt.core.idempotency_rules import UNSTABLE
from forecourt.stores.contract import Settlement
from forecourt.types import Scope
from tests.asgi import call, http, websocket
from tests.layers.keyed import Keyed, Poster, problem


def keyed() -> Scope:
    """Build the scope of a call with the first key."""
    return http("/", "POST", headers=[(b"idempotency-key", b"k1")])


async def test_a_call_is_carried_out_once_and_replayed() -> None:
    """Status, fields and body again, marked as a replay; another key is another call."""
    service = Keyed()
    first, second = await service.post(), await service.post()
    assert (first.status, first.body, first.headers["location"]) == (201, b"made", "/records/1")
    assert "idempotent-replayed" not in first.headers
    own = {"x-request-id": second.headers["x-request-id"]}
    assert second.headers == {**first.headers, "idempotent-replayed": "true", **own}
    assert (second.status, second.body) == (201, b"made")
    assert service.runs == 1
    await service.post("k2")
    assert service.runs == 2


async def test_a_missing_key_is_refused_where_it_is_required() -> None:
    """400 before anything is asked; where it is not required, the call passes by."""
    service = Keyed()
    assert problem(await service.post(None)) == (400, "idempotency-key-missing")
    assert service.runs == 0
    service = Keyed(required=False)
    assert [(await service.post(None)).status for _ in range(2)] == [201, 201]
    assert service.runs == 2
    assert [(await service.post()).status for _ in range(2)] == [201, 201]
    assert service.runs == 3


@pytest.mark.parametrize("key", ["", '"', '"a"b"', "a b", "a,b", "ü", "x" * 256, '""', '"a";p=1'])
async def test_a_malformed_key_is_refused(key: str) -> None:
    """400, and nothing is asked."""
    service = Keyed()
    assert problem(await service.post(key)) == (400, "idempotency-key-malformed")
    assert service.runs == 0


async def test_two_keys_are_none() -> None:
    """A field given twice is malformed, whichever way the two read."""
    service = Keyed()
    assert problem(await service.post(headers=[(b"idempotency-key", b"k2")]))[1] == "idempotency-key-malformed"


async def test_a_quoted_key_is_the_same_key() -> None:
    """RFC 9651 strings and bare tokens."""
    service = Keyed()
    await service.post('"k1"')
    await service.post(" k1 ")
    assert service.runs == 1


async def test_the_header_may_have_another_name() -> None:
    """As the operator says."""
    service = Keyed(header="X-Request-Id")
    assert problem(await service.post())[1] == "idempotency-key-missing"
    for _ in range(2):
        await service.post(None, headers=[(b"x-request-id", b"k1")])
    assert service.runs == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_methods_that_only_read_pass_by(method: str) -> None:
    """With a key or without, every call runs."""
    service = Keyed()
    await service.post(method=method)
    await service.post(None, method=method)
    assert service.runs == 2


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_are_carried_out_once(method: str) -> None:
    """Whatever changes something."""
    service = Keyed()
    await service.post(method=method)
    await service.post(method=method)
    assert service.runs == 1


async def test_websockets_pass_by() -> None:
    """They have no answer to replay."""
    service = Keyed()
    answer = await call(service.app, websocket("/echo"), {"type": "websocket.receive", "text": "hi"})
    assert "websocket.accept" in answer.kinds


async def test_another_payload_is_refused() -> None:
    """422 for another body, query, content type or method under the same key; the first one's answer stays."""
    service = Keyed()
    await service.post()
    for other in (
        await service.post(body=b"{ }"),
        await service.post(path="/?a=1"),
        await service.post(headers=[(b"content-type", b"text/csv")]),
        await service.post(method="PUT"),
    ):
        assert problem(other) == (422, "idempotency-key-reused")
    assert (await service.post()).headers["idempotent-replayed"] == "true"
    assert service.runs == 1


async def test_a_fingerprint_of_chosen_parts() -> None:
    """Where the operator says that the body alone matters, a query may differ."""
    service = Keyed(fingerprint={"body"})
    await service.post(path="/?a=1")
    assert (await service.post(path="/?a=2")).headers["idempotent-replayed"] == "true"
    assert (await service.post(body=b"x")).status == 422
    service = Keyed(fingerprint={"query"})
    await service.post(body=b"1")
    assert (await service.post(body=b"2")).headers["idempotent-replayed"] == "true"


async def test_keys_belong_to_their_caller_and_endpoint() -> None:
    """Another caller's or another endpoint's call with the same key runs, and is answered by its own handler."""
    service = Keyed()
    await service.post()
    assert "idempotent-replayed" not in (await service.post(client="192.0.2.2")).headers
    assert "idempotent-replayed" not in (await service.post(path="/other")).headers
    assert service.runs == 3


async def test_a_body_in_parts_is_the_same_body() -> None:
    """However it was cut; the length of each chunk is no part of it."""
    service = Keyed()
    await service.post(body=b"abcdef")
    poster = Poster(service.app, keyed(), parts=[b"abc", b"def", b""])
    poster._more = False
    assert (await poster.end()).headers["idempotent-replayed"] == "true"


async def test_a_call_at_work_is_a_conflict() -> None:
    """409 with Retry-After, also for another payload; its body is not read."""
    service = Keyed()
    service.slow = True
    first = await service.begin()
    assert problem(await service.post()) == (409, "idempotency-in-progress")
    assert (await service.post()).headers["retry-after"] == "1"
    other = Poster(service.app, keyed(), b"other")
    assert (await other.end()).status == 409
    assert other._parts == [b"other"]
    service.go_on.set()
    assert (await first.end()).status == 201
    assert (await service.post()).headers["idempotent-replayed"] == "true"


async def test_a_refused_call_is_not_read() -> None:
    """A call over its limits, or without a key, leaves its body where it is."""
    limited = EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60), idempotency=Idempotency(key="client"))
    service = Keyed(limited)
    await service.post()
    poster = Poster(service.app, keyed(), b"unread")
    assert (await poster.end()).status == 429
    assert poster._parts == [b"unread"]


@pytest.mark.parametrize("status", [200, 202, 204, 301, 303, 304, 400, 402, 404, 410, 418])
async def test_answers_that_are_kept(status: int) -> None:
    """2xx, 3xx and those 4xx that the same call would always get."""
    service = Keyed()
    service.answer = Response(status_code=status)
    assert (await service.post()).status == status
    again = await service.post()
    assert (again.status, again.headers["idempotent-replayed"]) == (status, "true")
    assert service.runs == 1


@pytest.mark.parametrize("status", sorted(UNSTABLE))
async def test_answers_that_another_moment_may_change_are_not_kept(status: int) -> None:
    """The key is free again at once, even for another payload."""
    service = Keyed()
    service.answer = Response(status_code=status)
    assert (await service.post()).status == status
    service.answer = Response(status_code=200)
    assert (await service.post(body=b"corrected")).status == 200
    assert service.runs == 2


@pytest.mark.parametrize("how", ["exception", "5xx"])
@pytest.mark.parametrize(("on_unknown", "statuses"), [("block", [409, 409]), ("retry", [201, 201])])
async def test_a_handler_that_fails_leaves_an_unknown_outcome(how: str, on_unknown: str, statuses: list[int]) -> None:
    """`block` never runs it again; `retry` does."""
    service = Keyed(on_unknown=on_unknown)
    if how == "5xx":
        service.answer = PlainTextResponse("broken", 500)
        assert (await service.post()).status == 500
        service.answer = PlainTextResponse("made", 201)
    else:
        service.fails = RuntimeError("it failed")
        with pytest.raises(RuntimeError, match="it failed"):
            await service.post()
        service.fails = None
    answers = [await service.post() for _ in range(2)]
    assert [answer.status for answer in answers] == statuses
    assert service.runs == (1 if on_unknown == "block" else 2)
    if on_unknown == "block":
        assert problem(answers[0]) == (409, "idempotency-outcome-unknown")
        assert "retry-after" not in answers[0].headers
    else:
        assert answers[1].headers["idempotent-replayed"] == "true"


async def test_replay_keeps_a_5xx_and_blocks_without_an_answer() -> None:
    """A 5xx that the handler answered is replayed; after an exception there is nothing to replay."""
    service = Keyed(on_unknown="replay")
    service.answer = PlainTextResponse("broken", 500)
    await service.post()
    again = await service.post()
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (500, b"broken", "true")
    service.fails = RuntimeError("it failed")
    with pytest.raises(RuntimeError):
        await service.post("k2")
    assert problem(await service.post("k2")) == (409, "idempotency-outcome-unknown")
    assert service.runs == 2


async def test_a_retry_of_an_unknown_call_must_have_its_payload() -> None:
    """422 before the handler runs, and the record is as it was; the right payload runs."""
    service = Keyed(on_unknown="retry")
    service.answer = PlainTextResponse("broken", 500)
    await service.post(body=b"first")
    assert problem(await service.post(body=b"other")) == (422, "idempotency-key-reused")
    service.answer = PlainTextResponse("made", 201)
    assert (await service.post(body=b"first")).status == 201
    assert service.seen == [b"first", b"first"]
    assert (await service.post(body=b"first")).headers["idempotent-replayed"] == "true"


async def test_a_large_retry_of_an_unknown_call_is_not_run() -> None:
    """What is too large to be compared before it runs might be another payload."""
    service = Keyed(on_unknown="retry")
    service.answer = PlainTextResponse("broken", 500)
    body = b"x" * (1024 * 1024 + 1)
    await service.post(body=body)
    assert problem(await service.post(body=body)) == (409, "idempotency-outcome-unknown")
    assert service.runs == 1


async def test_what_is_not_replayed() -> None:
    """Cookies, limits, dates and what belongs to one connection are for one answer only."""
    service = Keyed()
    service.answer = JSONResponse({"id": 1}, 201)
    for name, value in {
        "set-cookie": "session=secret",
        "ratelimit": '"x";r=1',
        "x-ratelimit-remaining": "1",
        "date": "Mon, 23 Nov 2026 00:00:00 GMT",
        "connection": "x-hop",
        "x-hop": "1",
        "x-kept": "1",
        "link": "</a>",
    }.items():
        service.answer.headers.append(name, value)
    service.answer.headers.append("link", "</b>")
    assert "set-cookie" in (await service.post()).headers
    again = await service.post()
    (start,) = again.starts
    assert [field for field in start["headers"] if field[0] != b"x-request-id"] == [
        (b"content-length", b"8"),
        (b"content-type", b"application/json"),
        (b"x-kept", b"1"),
        (b"link", b"</a>"),
        (b"link", b"</b>"),
        (b"idempotent-replayed", b"true"),
    ]


async def test_any_bytes_are_replayed() -> None:
    """No JSON is needed."""
    service = Keyed()
    service.answer = Response(bytes(range(256)) * 8, media_type="image/png")
    first, again = await service.post(), await service.post()
    assert (again.body, again.headers["content-type"]) == (first.body, "image/png")


async def test_a_large_answer_is_not_kept_and_never_made_again() -> None:
    """9 MiB: the replay says that it was done, with its status and fields, and that its body is not here."""
    service = Keyed()
    service.answer = Response(b"x" * (9 << 20), 201, {"location": "/records/9", "etag": '"9"'})
    assert len((await service.post()).body) == 9 << 20
    again = await service.post()
    assert problem(again) == (201, "idempotency-answer-not-kept")
    assert (again.headers["location"], again.headers["idempotent-replayed"]) == ("/records/9", "true")
    assert "etag" not in again.headers
    assert int(again.headers["content-length"]) == len(again.body)
    assert service.runs == 1


@pytest.mark.parametrize(("size", "kept"), [(100, True), (101, False)])
async def test_the_bound_of_an_answer(size: int, kept: bool) -> None:
    """`max_body` bytes are kept, one more is not."""
    service = Keyed(max_body=100)
    service.answer = Response(b"x" * size)
    await service.post()
    again = await service.post()
    assert (again.body == b"x" * size) is kept


async def test_a_tombstone_of_an_answer_without_a_body_has_none() -> None:
    """Fields that cannot be kept leave a status alone."""
    service = Keyed()
    service.answer = Response(status_code=204, headers={"x-long": "x" * (300 * 1024)})
    await service.post()
    again = await service.post()
    assert (again.status, again.body) == (204, b"")
    assert set(again.headers) == {"idempotent-replayed", "x-request-id"}
    assert service.runs == 1


async def test_records_end() -> None:
    """After `ttl` the key is new."""
    service = Keyed(ttl=60)
    await service.post()
    service.clock.advance(59.999999)
    await service.post()
    assert service.runs == 1
    service.clock.advance(0.000001)
    await service.post()
    assert service.runs == 2


async def test_a_caller_may_keep_so_many_records() -> None:
    """Beyond, new keys are refused until the first ends; known keys are answered; others have their own room."""
    service = Keyed(max_records=2, ttl=60)
    await service.post("k1")
    service.clock.advance(10)
    await service.post("k2")
    refused = await service.post("k3")
    assert problem(refused) == (429, "idempotency-keys-used-up")
    assert refused.headers["retry-after"] == "50"
    assert (await service.post("k1")).status == 201
    assert (await service.post("k3", client="192.0.2.2")).status == 201
    assert service.runs == 3
    service.clock.advance(50)
    assert (await service.post("k3")).status == 201


async def test_what_was_not_carried_out_takes_no_room() -> None:
    """An answer that is not kept is not counted."""
    service = Keyed(max_records=1)
    service.answer = Response(status_code=422)
    await service.post("k1")
    await service.post("k2")
    service.answer = Response(status_code=200)
    assert (await service.post("k3")).status == 200


async def test_a_kept_answer_that_cannot_be_read_is_an_unknown_outcome() -> None:
    """Another version wrote it: it is not run again."""
    service = Keyed()
    service.slow = True
    first = await service.begin()
    assert service.exchange is not None
    (key,) = [each for each in service.store._entries if not each.endswith(":kept")]  # type: ignore[attr-defined]
    await service.store.settle([Settlement("idempotency_complete", key, (service.exchange.id, 10**12, b"", b"FR\x02"))])
    assert problem(await service.post()) == (409, "idempotency-outcome-unknown")
    service.go_on.set()
    await first.end()


async def test_a_policy_of_the_default_is_skipped_where_keys_would_be_nobodys() -> None:
    """An anonymous endpoint under a default without a `key` is not protected, and `show` says so."""
    config = JobConfig(default=EndpointPolicy(idempotency=Idempotency()))
    resolved = config.policy_for("work")
    assert resolved is not None
    assert resolved.idempotency is None
    assert resolved.skipped == ("idempotency of default: anonymous callers need a key of their own",)


async def test_chosen_fields_make_two_payloads_the_same() -> None:
    """What stands beside them may change; they may not, nor may a body that is none of that kind."""
    service = Keyed(fields=("/amount", "/to/name"))
    first, again, other = (
        b'{"amount": 5, "to": {"name": "a"}, "at": 1}',
        b'{"at":2,"to":{"name":"a"},"amount":5}',
        b'{"amount": 6, "to": {"name": "a"}, "at": 1}',
    )
    assert (await service.post(body=first)).status == 201
    assert (await service.post(body=again)).headers["idempotent-replayed"] == "true"
    assert [(await service.post(body=body)).status for body in (other, b"amount=5", first + b" ")] == [422, 422, 201]
    assert service.runs == 1
