"""Webhooks that come in: only what was signed, once."""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import ConfigError, EndpointPolicy, FixedWindow, JobConfig, Webhook, WebhookMiddleware
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND, Message
from tests.asgi import Answer, call, http
from tests.callers import Caller, settle_down
from tests.layers.guarded import Guarded
from tests.layers.shared import Shared
from tests.servers import Valkey
from tests.services import starlette

SECRET = b"stripe's own"
KEYS = {"standard": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}


class Receiver:
    """A service that receives the webhooks of Stripe's scheme, on a clock that stands still."""

    def __init__(
        self,
        store: Store | None = None,
        clock: FakeClock | None = None,
        url: str = "memory://",
        *,
        most: int = 50,
        **words: object,
    ) -> None:
        self.clock = clock or FakeClock()
        self.received: list[bytes] = []
        self.status = 200
        self.fails = False
        self.go_on = asyncio.Event()
        self.go_on.set()
        webhook = Webhook(scheme="stripe", secrets=[SECRET], **words)  # type: ignore[arg-type]  # its own words
        limit = FixedWindow(limit=most, window=3600) if most else None
        policy = EndpointPolicy(webhook=webhook, rate_limit=limit)
        route = Route("/", self._receive, methods=["POST"], name="receive")
        kept = None if url != "memory://" else store or MemoryStore(self.clock)
        self.app = starlette(JobConfig(default=policy, store=url), route, clock=self.clock, store=kept)

    def signed(self, body: bytes, *, by: bytes = SECRET, late: int = 0) -> tuple[bytes, bytes]:
        """Return the field that signs a body."""
        at = self.clock.now() // SECOND - late
        signature = hmac.new(by, b"%d." % at + body, hashlib.sha256).hexdigest()
        return b"stripe-signature", f"t={at},v1={signature}".encode()

    async def post(self, body: bytes = b"{}", field: tuple[bytes, bytes] | None = None, pieces: int = 1) -> Answer:
        """Post a body, signed unless a field says otherwise."""
        headers = [field or self.signed(body)]
        size = -(-len(body) // pieces) or 1
        parts: Sequence[bytes] = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        messages: list[Message] = [{"type": "http.request", "body": each, "more_body": True} for each in parts]
        messages[-1]["more_body"] = False
        return await call(self.app, http("/", "POST", headers=headers), *messages)

    async def _receive(self, request: Request) -> Response:
        self.received.append(await request.body())
        await self.go_on.wait()
        if self.fails:
            raise RuntimeError("it failed")
        return PlainTextResponse("thanks", self.status)


async def test_what_is_signed_is_let_in_whole() -> None:
    """The handler reads the same bytes, however they came."""
    service = Receiver()
    assert (await service.post(b'{"id": "evt_1"}', pieces=4)).status == 200
    assert service.received == [b'{"id": "evt_1"}']


@pytest.mark.parametrize(
    ("late", "by", "status", "kind"),
    [
        (300, SECRET, 200, b""),
        (301, SECRET, 403, b"webhook-not-signed"),
        (-300, SECRET, 200, b""),
        (-301, SECRET, 403, b"webhook-not-signed"),
        (0, b"somebody else", 403, b"webhook-not-signed"),
    ],
)
async def test_only_the_senders_signature_counts_and_only_now(late: int, by: bytes, status: int, kind: bytes) -> None:
    """Within the tolerance, both ways."""
    service = Receiver()
    answer = await service.post(field=service.signed(b"{}", by=by, late=late))
    assert answer.status == status
    assert kind in answer.body
    assert len(service.received) == (status == 200)


async def test_fields_that_cannot_be_read_are_refused_before_anything_is_asked() -> None:
    """400, and no limit has counted it: nothing was asked."""
    store = Shared(MemoryStore(FakeClock()))
    service = Receiver(store)
    answer = await service.post(field=(b"x", b"y"))
    assert (answer.status, b"webhook-malformed" in answer.body, store.calls) == (400, True, [])


async def test_the_same_webhook_is_let_in_once() -> None:
    """409 afterwards, for as long as it is remembered; another one is let in."""
    service = Receiver(remember=600)
    field = service.signed(b"{}")
    assert [(await service.post(field=field)).status for _ in range(3)] == [200, 409, 409]
    assert (await service.post(b"[]")).status == 200
    service.clock.advance(300)
    assert (await service.post(field=field)).status == 409
    assert len(service.received) == 2


async def test_a_limit_that_refuses_leaves_the_place_free() -> None:
    """Limit and place stand or fall together: what comes too early is welcome later."""
    service = Receiver(most=1)
    assert (await service.post()).status == 200
    assert (await service.post(b"[]")).status == 429
    service.clock.advance(3600)
    assert (await service.post(b"[]", field=service.signed(b"[]"))).status == 200


async def test_replays_are_let_in_where_the_operator_says_so() -> None:
    """The signature's time still counts."""
    service = Receiver(replay=True)
    field = service.signed(b"{}")
    assert [(await service.post(field=field)).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("how", ["status", "exception", "signature", "size", "gone", "cancelled"])
async def test_what_failed_may_come_again(how: str) -> None:
    """A forged or failed one leaves nothing behind that keeps the right one out."""
    service = Receiver(max_body=10)
    field = service.signed(b"{}")
    service.status, service.fails = (503, False) if how == "status" else (200, how == "exception")
    if how == "exception":
        with pytest.raises(RuntimeError, match="it failed"):
            await service.post(field=field)
    elif how in ("gone", "cancelled"):
        await _leave(service, field, cancelled=how == "cancelled")
    else:
        body = {"status": b"{}", "signature": b"[]", "size": b"x" * 11}[how]
        answer = await service.post(body, field=field)
        assert answer.status == {"status": 503, "signature": 403, "size": 413}[how]
    await settle_down()
    service.status, service.fails = 200, False
    assert (await service.post(field=field)).status == 200


async def _leave(service: Receiver, field: tuple[bytes, bytes], *, cancelled: bool) -> None:
    """Send half a body and leave; or be cancelled while the handler is at work."""
    if not cancelled:
        half: Message = {"type": "http.request", "body": b"{", "more_body": True}
        assert not (await call(service.app, http("/", "POST", headers=[field]), half)).messages
        return
    service.go_on.clear()
    scope = http("/", "POST", headers=[service.signed(b"")])
    caller = Caller(service.app, scope)
    await settle_down()
    assert service.received == [b""]
    await caller.cancel()
    service.go_on.set()
    assert (await service.post(b"", field=scope["headers"][-1])).status == 200


async def test_a_second_one_is_refused_while_the_first_is_at_work() -> None:
    """However long that takes: the place is held."""
    service = Receiver()
    service.go_on.clear()
    field = service.signed(b"")
    first = Caller(service.app, http("/", "POST", headers=[field]))
    await settle_down()
    for _ in range(6):
        service.clock.advance(10)
        await settle_down()
    assert (await service.post(b"", field=field)).status == 409
    service.go_on.set()
    assert (await first.end()).status == 200
    assert len(service.received) == 1


async def test_with_the_store_down_nothing_is_received() -> None:
    """503: who cannot know what was received receives nothing, and the sender tries again."""
    clock = FakeClock()
    store = Shared(MemoryStore(clock))
    service = Receiver(store, clock)
    store.down = True
    answer = await service.post()
    assert (answer.status, answer.headers["retry-after"], service.received) == (503, "1", [])


async def test_all_processes_know_it_again(valkey: Valkey) -> None:
    """One of two receives it, racing or afterwards; one trip before the handler, one after."""
    clock = FakeClock()
    services = [Receiver(clock=clock, url=valkey.url) for _ in range(2)]
    field = services[0].signed(b"{}")
    answers = await asyncio.gather(*(service.post(field=field) for service in services * 5))
    assert sorted(answer.status for answer in answers) == [200, *[409] * 9]
    assert sum(len(service.received) for service in services) == 1


async def test_with_a_server_gone_nothing_is_received(valkey: Valkey) -> None:
    """503 from the failure policy too, and it recovers by itself; without any limit the webhook itself asks."""
    service = Receiver(url=valkey.url, most=0)
    assert (await service.post(field=service.signed(b"{}", late=1))).status == 200
    valkey.stop()
    try:
        answers = [await service.post() for _ in range(8)]
    finally:
        valkey.start()
    assert {answer.status for answer in answers} == {503}
    assert len(service.received) == 1


def test_secrets_are_named_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By env: and file:, in Python and in files; nothing shows them."""
    monkeypatch.setenv("HOOK", "planted-secret")
    (tmp_path / "hook").write_text("another-planted\n")
    policy = Webhook(scheme="github", secrets=["env:HOOK", f"file:{tmp_path / 'hook'}"])
    assert policy.keys() == (b"planted-secret", b"another-planted")
    assert "planted" not in repr(policy) + str(policy.model_dump())
    (tmp_path / "policies.toml").write_text('[default.webhook]\nscheme = "github"\nsecrets = ["file:hook"]\n')
    read = JobConfig.from_file(tmp_path / "policies.toml").default
    assert read is not None
    assert isinstance(read.webhook, Webhook)
    assert read.webhook.keys() == (b"another-planted",)


@pytest.mark.parametrize(
    ("webhook", "message"),
    [
        ({}, "webhook.secrets: must be given"),
        ({"secrets": []}, "must name at least one secret"),
        ({"secrets": [b""]}, "a secret is empty"),
        ({"secrets": ["planted"]}, "inline text is not allowed"),
        ({"secrets": ["env:NO_SUCH_VARIABLE"]}, "environment variable NO_SUCH_VARIABLE is not set"),
        ({"secrets": [b"???planted"]}, "a secret of Standard Webhooks is base64, behind whsec_"),
        ({"secrets": [b"c2VjcmV0"], "remember": 500}, "must be at least twice the tolerance, 600"),
        ({"secrets": [b"c2VjcmV0"], "scheme": "gitlab"}, 'did you mean "github"?'),
    ],
)
def test_wrong_webhooks_stop_the_start(webhook: dict[str, object], message: str) -> None:
    """With the field's name, the fix, and no secret."""
    with pytest.raises(ConfigError, match="webhook") as caught:
        JobConfig(default={"webhook": webhook})  # type: ignore[arg-type]  # as in a file
    assert message in str(caught.value)
    assert "planted" not in str(caught.value)


async def test_websockets_are_no_webhooks() -> None:
    """The default's policy is not theirs."""
    service = Guarded(EndpointPolicy(webhook=Webhook(secrets=[b"c2VjcmV0"])))
    assert (await service.connect()).kinds[0] == "websocket.accept"


def test_it_is_a_middleware_of_its_own() -> None:
    """And Standard Webhooks' secrets are base64."""
    assert WebhookMiddleware.installs == ("webhook",)
    assert len(Webhook(secrets=[KEYS["standard"].encode()]).keys()[0]) == 24
