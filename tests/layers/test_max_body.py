"""Bodies that are larger than anybody needs."""

import gzip
import tracemalloc
from itertools import count

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import ConfigError, EndpointPolicy, Idempotency, JobConfig, MaxBody, MaxBodyMiddleware, PolicyMiddleware
from forecourt.types import Message, Receive, Scope, Send
from tests.asgi import call, http
from tests.layers.guarded import Guarded, Header
from tests.services import starlette

GZIP = (b"content-encoding", b"gzip")


def length(size: int) -> Header:
    """Say how long a body is."""
    return (b"content-length", b"%d" % size)


async def test_what_is_said_to_be_larger_is_not_read() -> None:
    """413 at once; over HTTP/1 the connection is closed, on which the rest would follow."""
    service = Guarded(EndpointPolicy(max_body=10))
    answer = await service.send([b"x" * 11], length(11))
    assert (answer.status, answer.headers["connection"], service.bodies) == (413, "close", [])
    assert b"content-too-large" in answer.body
    assert "connection" not in (await service.send([b"x" * 11], length(11), http_version="2")).headers


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413)])
async def test_what_comes_is_counted(size: int, status: int) -> None:
    """Without a length, and with one that is wrong or no number, in one piece or many."""
    for fields in ([], [length(3)], [(b"content-length", b"ten")], [(b"content-length", b"9" * 5000)][: size - 11]):
        service = Guarded(EndpointPolicy(max_body=10))
        assert (await service.send([b"x"] * size, *fields)).status == status
        assert service.bodies == ([b"x" * size] if status == 200 else [])


async def test_a_length_of_any_size_is_read() -> None:
    """A number of 5,000 digits is larger, and no error."""
    answer = await Guarded(EndpointPolicy(max_body=10)).send([b""], (b"content-length", b"9" * 5000))
    assert answer.status == 413


async def test_endless_chunks_end_at_the_limit() -> None:
    """No more than one piece is taken beyond it, and nothing is kept."""
    taken = count()
    app = starlette(
        JobConfig(default=EndpointPolicy(max_body=10_000)),
        Route("/", _read_pieces, methods=["POST"], name="read"),
    )
    sent: list[Message] = []

    async def receive() -> Message:
        next(taken)
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(http("/", "POST"), receive, send)
    assert (sent[0]["status"], len(sent), next(taken)) == (413, 2, 11)


async def test_what_a_handler_forgets_is_not_kept() -> None:
    """Fifty pieces of a megabyte pass before the limit refuses, and no more than a few of them are held at any time."""
    app = starlette(
        JobConfig(default=EndpointPolicy(max_body=50_000_000)),
        Route("/", _read_pieces, methods=["POST"], name="read"),
    )
    taken = count()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"%d" % next(taken) + bytes(1_000_000), "more_body": True}

    async def send(_: Message) -> None:
        return

    await app(http("/", "POST"), receive, send)
    assert next(taken) == 50  # the first call, with all that is made once
    taken = count()
    tracemalloc.start()
    try:
        await app(http("/", "POST"), receive, send)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert next(taken) == 50
    assert peak < 4_000_000


async def _read_pieces(request: Request) -> Response:
    """Forget what comes, and ask again after the end."""
    try:
        async for _ in request.stream():
            pass
    finally:
        assert (await request.receive())["type"] == "http.disconnect"
    return PlainTextResponse("never seen")


async def test_too_much_after_the_answer_began_looks_like_a_client_that_left() -> None:
    """Nothing else can be answered any more; the answer goes on."""
    kinds: list[str] = []

    async def echo(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        kinds.extend([(await receive())["type"] for _ in range(3)])
        await send({"type": "http.response.body", "body": b"done"})

    config = JobConfig(endpoints={"echo": EndpointPolicy(max_body=10)}, routes={"echo": "POST /"})
    pieces: list[Message] = [{"type": "http.request", "body": b"x" * 8, "more_body": True}] * 2
    answer = await call(PolicyMiddleware(echo, config=config), http("/", "POST"), *pieces)
    assert (answer.status, answer.body) == (200, b"done")
    assert kinds == ["http.request", "http.disconnect", "http.disconnect"]


async def test_a_handler_that_goes_on_after_it_was_refused_is_not_heard() -> None:
    """The one answer is 413, whatever the handler makes of a client that seems to have left."""
    sent: list[str] = []

    async def stubborn(_: Scope, receive: Receive, send: Send) -> None:
        sent.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all the same"})

    config = JobConfig(endpoints={"echo": EndpointPolicy(max_body=10)}, routes={"echo": "POST /"})
    piece: Message = {"type": "http.request", "body": b"x" * 11, "more_body": True}
    answer = await call(PolicyMiddleware(stubborn, config=config), http("/", "POST"), piece)
    assert (answer.status, sent) == (413, ["http.disconnect"])
    assert b"all the same" not in answer.body


async def test_a_client_that_leaves_within_the_limit_is_seen_to_leave() -> None:
    """By the handler, as without the policy: what it sent is half of a compressed body, and no corrupt one."""
    seen: list[str] = []

    async def patient(_: Scope, receive: Receive, __: Send) -> None:
        seen.extend([(await receive())["type"] for _ in range(2)])

    policy = EndpointPolicy(max_body=MaxBody(size=100, encodings=("gzip",)))
    config = JobConfig(endpoints={"echo": policy}, routes={"echo": "POST /"})
    piece: Message = {"type": "http.request", "body": gzip.compress(b"x" * 50)[:15], "more_body": True}
    answer = await call(PolicyMiddleware(patient, config=config), http("/", "POST", headers=[GZIP]), piece)
    assert (seen, answer.messages) == (["http.request", "http.disconnect"], [])


async def test_an_idempotency_key_is_free_after_a_body_too_large() -> None:
    """The handler has done nothing, so the key's next use runs it."""
    policy = EndpointPolicy(max_body=10, idempotency=Idempotency(key="client"))
    service = Guarded(policy)
    key = (b"idempotency-key", b'"one"')
    statuses = [(await service.send([b"x"] * size, key)).status for size in (11, 10, 10)]
    assert (statuses, service.bodies) == ([413, 200, 200], [b"x" * 10])


async def test_compressed_bodies_are_unpacked_within_bounds() -> None:
    """The handler sees what was packed, and no word of it; too much inside is 413 as well."""
    service = Guarded(EndpointPolicy(max_body=MaxBody(size=100, encodings=("gzip",), decoded=1000)))
    packed = gzip.compress(b"x" * 1000)
    answer = await service.send([packed[:5], packed[5:]], GZIP, length(len(packed)))
    assert (answer.status, service.bodies) == (200, [b"x" * 1000])
    assert service.seen == ["host"]
    assert (await service.send([gzip.compress(b"x" * 1001)], GZIP)).status == 413
    assert (await service.send([b"not packed"], GZIP)).status == 400
    assert (await service.send([b"plain"], (b"content-encoding", b"identity"))).status == 200


async def test_other_encodings_are_refused_where_some_are_unpacked() -> None:
    """415 and what is accepted; without `encodings` the handler gets them as they are."""
    answer = await Guarded(EndpointPolicy(max_body=MaxBody(size=100, encodings=("gzip",)))).send(
        [b"?"], (b"content-encoding", b"br")
    )
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip")
    plain = Guarded(EndpointPolicy(max_body=100))
    assert (await plain.send([b"?"], (b"content-encoding", b"br"))).status == 200
    assert plain.seen == ["content-encoding", "host"]


async def test_other_failures_are_raised() -> None:
    """The handler's own exception is its own."""

    async def fail(_: Request) -> Response:
        raise RuntimeError("mine")

    app = starlette(JobConfig(default=EndpointPolicy(max_body=10)), Route("/", fail, name="fail"))
    with pytest.raises(RuntimeError, match="mine"):
        await call(app, http("/"))


async def test_websockets_pass() -> None:
    """Servers limit their messages."""
    assert (await Guarded(EndpointPolicy(max_body=1)).connect()).kinds[0] == "websocket.accept"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "must be greater than 0"),
        ("large", "must be a whole number"),
        ({"size": 10, "decoded": 100}, "nothing is unpacked without encodings"),
        ({"size": 10, "decoded": 5, "encodings": ["gzip"]}, "must be at least size, 10"),
        ({"size": 10, "encodings": ["br"]}, "must be 'gzip' or 'deflate'"),
    ],
)
def test_wrong_sizes_stop_the_start(value: object, message: str) -> None:
    """With the field's name and the fix."""
    with pytest.raises(ConfigError, match="max_body") as caught:
        JobConfig(default={"max_body": value})  # type: ignore[arg-type]  # as in a file
    assert message in str(caught.value)


def test_a_number_is_the_size() -> None:
    """And ten times that is what a compressed body may become; "off" and nothing are as everywhere."""
    policy = EndpointPolicy(max_body=1000).max_body
    assert isinstance(policy, MaxBody)
    assert (policy.size, policy.most_decoded) == (1000, 10_000)
    assert (EndpointPolicy(max_body="off").max_body, EndpointPolicy(max_body=None).max_body) == ("off", None)
    assert MaxBodyMiddleware.installs == ("max_body",)
