"""Webhooks of a service: each job's end is told, signed, until somebody has heard it."""

import asyncio
import base64
import json
from typing import Any

import pytest

from forecourt import ApiKey, ApiKeys, ConfigError, JobConfig, Offload, Principal, Webhooks
from forecourt.core.webhooks import PAUSES, secrets_for
from forecourt.errors import StoreDown
from forecourt.inspection import stack_of
from forecourt.jobs.envelope import Callback, Delivery, Envelopes, JobRequest
from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import Ending, NewJob, Published
from forecourt.jobs.queues import JobQueues
from forecourt.jobs.valkey import ValkeyQueue
from forecourt.jobs.webhooks import Deliveries
from forecourt.layers.offload import owner_of
from forecourt.policies.keys import KeyRing
from forecourt.policies.webhooks import Secrets
from forecourt.stores.redis.client import Client
from forecourt.testing import FakeClock
from forecourt.types import Message
from tests.callers import settle_down
from tests.jobs.queues import job
from tests.jobs.receivers import SECRET, SPELT, Receiver
from tests.jobs.services import Reports, address
from tests.servers import Valkey

TO = b"x-callback"


def hooks(**other: object) -> Webhooks:
    """Build the policy: this machine may be called, without TLS."""
    given: dict[str, object] = {"secrets": [SPELT.encode()], "allow": ["127.0.0.0/8"], "plain_http": True, **other}
    return Webhooks.model_validate(given)


def reports(**offload: object) -> Reports:
    """Build a service whose callers name their receivers."""
    given: dict[str, object] = {"callback": "header:X-Callback", **offload}
    return Reports(Offload.model_validate(given), webhooks=hooks())


async def pushed(service: Reports, receiver: Receiver, number: int, seconds: float = 0.25) -> None:
    """Let time pass until so many messages have come."""
    async with asyncio.timeout(10):
        while len(receiver.bodies) < number:
            await service.advance(seconds, seconds)
            await asyncio.sleep(0.002)
    await settled(receiver)


async def settled(receiver: Receiver) -> None:
    """Let what was answered be noted."""
    for _ in range(5):
        await asyncio.sleep(0.002)
        await settle_down()


async def test_a_jobs_end_is_told() -> None:
    """Who it is, how it stands, where its result is; signed with the caller's own secret."""
    service = reports()
    async with Receiver() as receiver:
        location = (await service.post("/reports/a", None, (TO, receiver.url.encode()))).headers["location"]
        await pushed(service, receiver, 1)
        (message,) = receiver.messages()
        assert message["type"] == "job.succeeded"
        told: Any = message["data"]
        assert (told["status"], told["endpoint"], told["attempts"]) == ("succeeded", "make_report", 1)
        assert told["links"] == {"self": location, "result": f"{location}/result"}
        owner = owner_of_user("ali")
        receiver.verify(0, secrets_for(owner, [SECRET])[0])
        with pytest.raises(AssertionError):
            receiver.verify(0, secrets_for(owner_of_user("bob"), [SECRET])[0])
        await service.advance(700, 10)
        await settled(receiver)
        assert len(receiver.bodies) == 1


def owner_of_user(user: str) -> str:
    """Return the digest of whose jobs a test's user has."""

    class Caller:
        principal = None
        client = address(user)

    return owner_of(Caller())  # type: ignore[arg-type]  # all that it looks at


async def test_a_failure_is_told_with_its_reason() -> None:
    """A job that is dead says why; its receiver is told once, though it had two attempts."""
    service = reports(max_attempts=2)
    service.fails = 2
    async with Receiver() as receiver:
        await service.post("/reports/a", None, (TO, receiver.url.encode()))
        await pushed(service, receiver, 1)
        (message,) = receiver.messages()
        told: Any = message["data"]
        assert (message["type"], told["reason"]) == ("job.dead", "the handler raised an exception")


async def test_a_message_is_tried_again_until_it_is_heard() -> None:
    """The same id and body, a new timestamp, after pauses that grow; then never again."""
    service = reports()
    async with Receiver(500, 302, 404) as receiver:
        await service.post("/reports/a", None, (TO, receiver.url.encode()))
        await pushed(service, receiver, 1)
        await service.advance(3)
        assert len(receiver.bodies) == 1
        await pushed(service, receiver, 2)
        await pushed(service, receiver, 4, 2)
        assert len({head["webhook-id"] for head in receiver.heads}) == 1
        assert len(set(receiver.bodies)) == 1
        times = [int(head["webhook-timestamp"]) for head in receiver.heads]
        assert times == sorted(set(times))
        await service.advance(2000, 10)
        await settled(receiver)
        assert len(receiver.bodies) == 4


async def test_nobody_is_called_for_longer_than_a_day() -> None:
    """After the last attempt the message is dead, for an operator to see and to have sent again."""
    service = reports()
    async with Receiver(*[503] * 12) as receiver:
        await service.post("/reports/a", None, (TO, receiver.url.encode()))
        for number, pause in enumerate((0, *PAUSES), 1):
            service.clock.advance(pause * 1.2)
            await pushed(service, receiver, number, 0.5)
        await service.advance(5)
        queue = queue_of(service)
        (dead,) = await queue.dead()
        assert (dead.endpoint, dead.reason) == ("webhooks", "the handler answered 502")
        await queue.redrive(dead.id)
        await pushed(service, receiver, 13)
        assert (await queue.depth())["dead"] == 0


def queue_of(service: Reports) -> MemoryQueue:
    """Return the queue of a service's webhooks."""
    queue = stack_of(service.api, "offload").jobs.queues.queue("webhooks")
    assert isinstance(queue, MemoryQueue)
    return queue


async def test_a_redirect_is_not_followed() -> None:
    """It is an answer like any other that is no 2xx: the address is tried again, the other one is never called."""
    service = reports()
    async with Receiver() as inside, Receiver(307, location=inside.url) as receiver:
        await service.post("/reports/a", None, (TO, receiver.url.encode()))
        await pushed(service, receiver, 2)
        await settled(receiver)
        assert (len(receiver.bodies), inside.bodies) == (2, [])


async def test_a_receiver_that_is_gone_is_left_alone() -> None:
    """410: no attempt follows, nor is the next job told there; another caller's is, and after thirty days this one."""
    service = reports()
    async with Receiver(410) as receiver:
        told = (TO, receiver.url.encode())
        await service.post("/reports/a", None, told)
        await pushed(service, receiver, 1)
        await service.post("/reports/b", None, told)
        await service.advance(60, 1)
        await settled(receiver)
        assert len(receiver.bodies) == 1
        await service.post("/reports/b", None, told, user="bob")
        await pushed(service, receiver, 2)
        await service.advance(5)
        service.clock.advance(31 * 86_400)
        await service.post("/reports/c", None, told)
        await pushed(service, receiver, 3)


async def test_what_tells_of_a_job_is_in_nobodys_list() -> None:
    """Neither the caller's, whose job it tells of, nor another's."""
    service = reports()
    async with Receiver() as receiver:
        await service.post("/reports/a", None, (TO, receiver.url.encode()))
        await pushed(service, receiver, 1)
        listed = json.loads((await service.ask("GET", "/jobs/")).body)["jobs"]
        assert [each["links"]["self"].rpartition("/")[2].partition(".")[0] for each in listed] == ["default"]


async def test_a_cancelled_job_is_told_by_its_watch() -> None:
    """Nobody works on it, so nobody sees it end; within some minutes somebody has looked."""
    service = reports(delay=3600)
    async with Receiver() as receiver:
        location = (await service.post("/reports/a", None, (TO, receiver.url.encode()))).headers["location"]
        await service.advance(200, 5)
        assert (await service.ask("DELETE", location)).status == 204
        await pushed(service, receiver, 1, 20)
        assert receiver.messages()[0]["type"] == "job.cancelled"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (b"http://10.0.0.1/", "public"),
        (b"http://[::ffff:169.254.169.254]/", "public"),
        (b"https://user:hunter2@receiver.example/", "user"),
        (b"\xff", "visible"),
    ],
)
async def test_an_address_that_may_not_be_called_is_refused_now(url: bytes, says: str) -> None:
    """422 and no job, which does not say what was given back."""
    service = reports()
    answer = await service.post("/reports/a", None, (TO, url))
    detail = json.loads(answer.body)["detail"]
    assert (answer.status, says in detail, "hunter2" in detail) == (422, True, False)
    await settle_down()
    assert service.runs == []


async def test_without_an_address_nothing_is_told() -> None:
    """A caller who names none has a job as ever."""
    service = reports()
    assert (await service.post()).status == 202
    await settle_down()
    assert await queue_of(service).depth() == {"waiting": 0, "delayed": 0, "running": 0, "dead": 0}


async def test_the_same_key_with_another_address_is_another_request() -> None:
    """422, as for any other difference."""
    service = reports()
    key = (b"idempotency-key", b"k1")
    async with Receiver() as receiver:
        assert (await service.post("/reports/a", None, key, (TO, receiver.url.encode()))).status == 202
        assert (await service.post("/reports/a", None, key)).status == 422


async def test_a_fixed_receiver_verifies_with_the_services_secrets() -> None:
    """An operator's own receiver; during a rotation each message carries a signature for both secrets."""
    new = b"n" * 32
    async with Receiver() as receiver:
        spelt = b"whsec_" + base64.b64encode(new)
        service = Reports(Offload(callback=receiver.url), webhooks=hooks(secrets=[spelt, SPELT.encode()]))
        await service.post()
        await pushed(service, receiver, 1)
        receiver.verify(0, SECRET)
        receiver.verify(0, new)


async def test_the_record_of_a_key_names_the_receiver() -> None:
    """`api_key`: the principal carries the address, which shows in no repr; another caller's job tells nobody."""
    record = ApiKey(id="a" * 12, hash="0" * 64, owner="ali", webhook="https://receiver.example/hooks")
    principal = Principal("api-key", record.owner, webhook=record.webhook)
    assert "receiver" not in repr(record) + repr(principal)
    with pytest.raises(ValueError, match="webhook"):
        ApiKey(id="a" * 12, hash="0" * 64, owner="ali", webhook="receiver")
    keys = ApiKeys(keys=[record])
    service = Reports(Offload(callback="api_key"), webhooks=hooks(), api_keys=keys)
    assert (await service.post()).status == 202


@pytest.mark.parametrize(
    ("offload", "config", "says"),
    [
        ({"callback": "header:x-c"}, {}, "say how messages are signed"),
        ({"callback": "https://10.0.0.1/"}, {"webhooks": hooks(allow=[])}, "must be a public address"),
        ({"callback": "http://a.example/"}, {"webhooks": hooks(plain_http=False)}, "must begin with https://"),
        ({"callback": "api_key"}, {"webhooks": hooks()}, "there are no api_keys"),
        ({"queue": "webhooks"}, {"queues": {"webhooks": "memory://"}}, "is the queue of webhooks"),
        (
            {"callback": "header:x-c", "queue": "far"},
            {"webhooks": hooks(), "queues": {"far": "redis://localhost"}, "keys": [b"k" * 32]},
            "lost with it",
        ),
        (
            {"callback": "header:x-c"},
            {
                "webhooks": hooks(),
                "queues": {"webhooks": "pulsar://broker:6650"},
                "keys": [b"k" * 32],
                "store": "redis://localhost:1",
            },
            "which Pulsar cannot: put queues.webhooks elsewhere",
        ),
    ],
)
async def test_what_could_not_be_told_stops_the_start(
    offload: dict[str, object], config: dict[str, object], says: str
) -> None:
    """One line, with endpoint and field."""
    service = Reports(Offload.model_validate(offload), **config)  # type: ignore[arg-type]  # the tests' own words
    with pytest.raises(ConfigError, match=says):
        await service.post()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"secrets": []}, "is empty"),
        ({"secrets": ["whsec_AAAA"]}, "inline text"),
        ({"secrets": [b"AAAA"]}, "not shown"),
        ({"secrets": [b"whsec_AAAA"]}, "24 to 64"),
        ({"secrets": [b"whsec_~"]}, "not base64"),
        ({"secrets": [7]}, "type int"),
        ({"secrets": [SPELT.encode()], "allow": "here"}, "list of networks"),
        ({"secrets": [SPELT.encode()], "allow": ["here"]}, "a network such as"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(words: dict[str, object], says: str) -> None:
    """The error names the field, and never a secret."""
    with pytest.raises(ConfigError, match=says) as caught:
        JobConfig(webhooks=words)  # type: ignore[arg-type]  # as a file would say it
    assert "AAAA" not in str(caught.value).replace("AAAA is", "")


def test_secrets_are_not_shown() -> None:
    """A repr says how many there are; one secret may stand without a list, in the environment or a file."""
    policy = hooks(secrets=SPELT.encode())
    assert "AAEC" not in repr(policy)
    assert repr(policy.secrets) == "<Secrets, 1>"
    assert hooks(secrets=Secrets([SECRET])).secrets.keys == (SECRET,)


@pytest.mark.parametrize("callback", ["header:authorization", "header:", "receiver", "ftp://a.example/"])
def test_a_callback_that_is_none_is_refused(callback: str) -> None:
    """It must be an address, a header without credentials, or the key's record."""
    with pytest.raises(ConfigError, match="callback"):
        JobConfig.model_validate({"endpoints": {"a": {"offload": {"callback": callback}}}})


async def deliver(queue: ValkeyQueue, deliveries: Deliveries) -> int:
    """Run what is there to be run, once."""

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    statuses: list[int] = []
    claimed = await queue.claim(8)
    for each in claimed:
        request = Envelopes(RING, "webhooks").open(each.id, each.envelope)
        await deliveries.run(request, send)
        await queue.finish(each.id, each.token, Ending("done", b"{}"))
    return len(claimed)


RING = KeyRing([b"k" * 32])


async def test_a_restart_loses_no_message(valkey: Valkey) -> None:
    """All is in the store: another process goes on where the first one stopped; told twice, it is one message."""
    clock = FakeClock()
    config = JobConfig(store=valkey.url, keys=[b"k" * 32], webhooks=hooks())
    queue = ValkeyQueue(Client(valkey.url, deadline=5), "fc", "webhooks", clock=clock)
    await queue.open()

    def process() -> Deliveries:
        queues = JobQueues(config, clock)
        queues._queues["webhooks"] = queue
        queues._queues["q"] = MemoryQueue(clock)
        assert config.webhooks is not None
        return Deliveries(queues, config.webhooks, clock, spread=lambda: 0.5)

    async with Receiver(500) as receiver:
        first = process()
        jobs = first._queues.queue("q")
        await jobs.publish(job("q.a"))
        await first.watch("q.a", Callback(receiver.url, "ali"))
        record = await jobs.cancel("q.a")
        assert record is not None
        await first.ended(record, Callback(receiver.url, "ali"))
        await first.ended(record, Callback(receiver.url, "ali"))
        assert await deliver(queue, first) == 1
        clock.advance(5)
        second = process()
        assert await deliver(queue, second) == 1
        assert len(receiver.bodies) == 2
        assert len({head["webhook-id"] for head in receiver.heads}) == 1
        clock.advance(100)
        assert await deliver(queue, second) == 1
        assert (await queue.depth())["delayed"] == 0
    await queue.close()


class Down(MemoryQueue):
    """A queue that does not take anything."""

    async def publish(self, job: NewJob) -> Published:
        """Refuse."""
        raise StoreDown("gone")


async def test_a_message_that_cannot_be_kept_now_is_told_later(caplog: pytest.LogCaptureFixture) -> None:
    """With the queue down at a job's end nothing is raised: the watch was published before the job."""
    clock = FakeClock()
    config = JobConfig(webhooks=hooks())
    queues = JobQueues(config, clock)
    queues._queues["webhooks"] = Down(clock)
    assert config.webhooks is not None
    deliveries = Deliveries(queues, config.webhooks, clock)
    jobs = MemoryQueue(clock)
    record = (await jobs.publish(job("q.a"))).record
    await deliveries.ended(record, Callback("https://receiver.example/secret", "ali"))
    assert "a webhook is told later" in caplog.text
    assert "receiver" not in caplog.text


async def test_with_the_queue_of_webhooks_down_there_is_no_job() -> None:
    """503, and nothing half published: a job whose end could not be told is not begun."""
    service = reports()
    await service.post()
    queue_of(service).publish = Down(service.clock).publish  # type: ignore[method-assign]
    answer = await service.post("/reports/b", None, (TO, b"http://127.0.0.1:1/"))
    await settle_down()
    assert (answer.status, len(service.runs)) == (503, 1)


async def test_a_watch_of_what_never_was_ends() -> None:
    """A job that was not published after all is looked for once."""
    clock = FakeClock()
    config = JobConfig(webhooks=hooks())
    queues = JobQueues(config, clock)
    assert config.webhooks is not None
    deliveries = Deliveries(queues, config.webhooks, clock)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    watch = Delivery("watch", "q.unknown", Callback("https://receiver.example/", ""))
    await deliveries.run(JobRequest("webhooks", "POST", "/", b"", "", "https", (), b"", delivery=watch), send)
    assert sent[0]["status"] == 204
    assert (await queues.queue("webhooks").depth())["delayed"] == 0


async def test_an_answer_that_is_none_is_no_delivery(caplog: pytest.LogCaptureFixture) -> None:
    """What the receiver said is not HTTP: the reason is logged, and the message comes again."""
    caplog.set_level("INFO", "forecourt")
    service = reports()
    async with Receiver(says=b"nonsense\r\n\r\n") as receiver:
        await service.post("/reports/a", None, (TO, receiver.url.encode()))
        await pushed(service, receiver, 1)
        receiver.says = None
        await pushed(service, receiver, 2)
        assert len({head["webhook-id"] for head in receiver.heads}) == 1
    assert "attempt 1: the answer is not HTTP/1.1" in caplog.text
