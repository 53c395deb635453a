"""Calls to upstreams, against a real server on loopback that errs, stalls and resets by script."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from examples.quotes.flaky import Flaky, Mood, heard
from forecourt import CircuitBreaker, CircuitOpen, ConfigError, EndpointPolicy, JobConfig, Retry, Timeout, Upstream
from forecourt.deadlines import Deadline, current
from forecourt.surroundings import NOTHING, Surroundings, around
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from forecourt.upstream_transport import Client

SOON = 0.2
"""Seconds: how long a call waits for what never comes."""


class Called:
    """A config with one upstream, its server, and its client."""

    def __init__(self, server: Flaky, policy: dict[str, object], path: str, clock: FakeClock | None) -> None:
        self.server = server
        self.clock = clock or FakeClock()
        upstream = Upstream(base_url=server.url + path, **policy)  # type: ignore[arg-type]  # the tests' own words
        self.config = JobConfig(endpoints={}, upstreams={"quotes": upstream})
        self.config.breakers.bind(self.clock)
        self.config.outgoing.bind(self.clock)

    @property
    def client(self) -> Client:
        """Its client."""
        return self.config.upstream("quotes")

    async def get(self) -> int:
        """Ask for a quote."""
        return (await self.client.get("/quotes/1")).status_code

    def within(self, seconds: float) -> Deadline:
        """Work for a call with this deadline from now on."""
        deadline = Deadline(self.clock.now() + round(seconds * SECOND), self.clock)
        current.set(deadline)
        return deadline


@asynccontextmanager
async def calling(
    *script: Mood, path: str = "", clock: FakeClock | None = None, **policy: object
) -> AsyncIterator[Called]:
    """Run a server by this script, and call it under this policy."""
    async with Flaky(*script).running() as server:
        called = Called(server, policy, path, clock)
        try:
            yield called
        finally:
            await called.config.outgoing.close()


@pytest.fixture(autouse=True)
def _alone() -> None:
    """Let no test see another's deadline."""
    current.set(None)
    around.set(NOTHING)


RETRY = Retry(backoff=0)
BREAKER = CircuitBreaker(fail_max=2, reset_timeout=30, jitter=0)


async def test_without_more_it_is_a_client() -> None:
    """Paths are below the base address; what the server says comes back; failures are httpx's own."""
    async with calling(200, 503, "reset", path="/v1") as called:
        answer = await called.client.get("/quotes/1")
        assert (answer.status_code, answer.json()) == (200, {"price": 42})
        assert called.server.heads[0].startswith("get /v1/quotes/1 ")
        assert await called.get() == 503
        with pytest.raises(httpx.TransportError):
            await called.get()
        assert called.server.calls == 3


async def test_one_client_for_all_which_keeps_no_cookies() -> None:
    """What one caller is given as a cookie is not sent for the next; one that was closed is replaced."""
    async with calling(200) as called:
        called.server.fields = {"set-cookie": "session=alice"}
        first = called.client
        await called.get()
        await called.get()
        assert heard(called.server.heads, "cookie") == [None, None]
        assert called.client is first
        await first.aclose()
        assert await called.get() == 200
        assert called.client is not first
        await called.config.outgoing.close()
        await called.config.outgoing.close()
        assert await called.get() == 200


async def test_the_breaker_opens_and_heals() -> None:
    """Failures in a row open it, nothing is sent while it is open, and one probe closes it."""
    for mood in (503, "reset", "half"):
        async with calling(mood, circuit_breaker=BREAKER) as called:
            for _ in range(2):
                try:
                    assert await called.get() == 503
                except httpx.TransportError:
                    assert mood != 503
            with pytest.raises(CircuitOpen) as refused:
                await called.get()
            assert (refused.value.name, refused.value.retry_after, called.server.calls) == ("quotes", 30, 2)
            called.server.says(200)
            called.clock.advance(30)
            assert [await called.get(), await called.get()] == [200, 200]
            assert called.config.breaker("quotes").state == "closed"


async def test_a_hundred_callers_probe_once() -> None:
    """Half-open, exactly one call reaches the server while the others are refused."""
    async with calling(503, circuit_breaker=BREAKER) as called:
        await called.get()
        await called.get()
        called.server.says("stall")
        called.clock.advance(30)
        crowd = [asyncio.ensure_future(called.get()) for _ in range(100)]
        done, waiting = await asyncio.wait(crowd, timeout=2, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 99:
            done, waiting = await asyncio.wait(crowd, timeout=SOON)
        assert {type(each.exception()) for each in done} == {CircuitOpen}
        (probe,) = waiting
        probe.cancel()
        await asyncio.wait([probe])
        assert called.server.calls == 3
        called.server.says(200)
        assert await called.get() == 200


async def test_what_is_cancelled_or_left_unread_counts_for_nothing() -> None:
    """Nor does a call that never left this process; a failed status counts whether its body is read or not."""
    async with calling("stall", circuit_breaker=CircuitBreaker(fail_max=1)) as called:
        task = asyncio.ensure_future(called.get())
        while not called.server.calls:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        called.server.says("drip")
        async with called.client.stream("GET", "/quotes/1") as answer:
            assert answer.status_code == 200
        with pytest.raises(httpx.UnsupportedProtocol):
            await called.client.get("gopher://quotes/1")
        assert called.config.breaker("quotes").state == "closed"
        called.server.says(500)
        async with called.client.stream("GET", "/quotes/1"):
            pass
        assert called.config.breaker("quotes").state == "open"


async def test_a_body_left_unread_ends_no_row_of_failures() -> None:
    """It is no success either; left after the deadline it is a failure."""
    async with calling(500, "drip", 500, circuit_breaker=BREAKER) as called:
        for _ in range(3):
            async with called.client.stream("GET", "/quotes/1"):
                pass
        assert called.config.breaker("quotes").state == "open"
    async with calling("drip", circuit_breaker=CircuitBreaker(fail_max=1)) as called:
        called.within(60)
        async with called.client.stream("GET", "/quotes/1"):
            called.clock.advance(60)
        assert called.config.breaker("quotes").state == "open"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would carry calls around the breaker."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with calling(200) as called:
        assert await called.get() == 200


async def test_an_event_stream_is_judged_by_its_status() -> None:
    """It may never end, so a probe is settled by its head."""
    async with calling(503, 503, "events", circuit_breaker=BREAKER) as called:
        await called.get()
        await called.get()
        called.clock.advance(30)
        async with called.client.stream("GET", "/quotes/1"):
            assert called.config.breaker("quotes").state == "closed"


async def test_what_failed_is_asked_again() -> None:
    """By status or by connection; the server is told which attempt it is; the breaker learns one outcome."""
    async with calling(503, "reset", 200, retry=RETRY, circuit_breaker=BREAKER) as called:
        assert await called.get() == 200
        assert heard(called.server.heads, "retry-attempt") == [None, "1", "2"]
        called.server.says(503)
        assert await called.get() == 503
        assert called.server.calls == 6
        assert called.config.breaker("quotes").state == "closed"


async def test_a_connection_that_fails_for_good_is_told() -> None:
    """After the last attempt the error is raised."""
    async with calling("reset", retry=RETRY) as called:
        with pytest.raises(httpx.TransportError):
            await called.get()
        assert called.server.calls == 3


async def test_only_what_may_be_sent_twice_is() -> None:
    """Not POST without the operator's word, no body that is a stream or too long, no retry of a retry."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"part"

    async with calling(503, retry=Retry(backoff=0, max_body=4)) as called:
        put = called.client.put
        for send, calls in (
            (called.client.post("/quotes/1"), 1),
            (put("/quotes/1", content=b"four"), 3),
            (put("/quotes/1", content=b"longer"), 1),
            (put("/quotes/1", content=parts()), 1),
            (called.client.get("/quotes/1", headers={"retry-attempt": "1"}), 1),
        ):
            called.server.heads.clear()
            assert (await send).status_code == 503
            assert called.server.calls == calls
    async with calling(503, retry=Retry(backoff=0, unsafe=True)) as called:
        await called.client.post("/quotes/1")
        assert called.server.calls == 3


async def test_never_two_layers_of_retries() -> None:
    """Where the endpoint's own call is tried again, or is a retry, this one is not; afterwards it may be."""
    async with calling(503, retry=RETRY) as called:
        outside = Surroundings((), retried=True)
        around.set(outside)
        await called.get()
        assert called.server.calls == 1
        outside.end()
        await called.get()
        assert called.server.calls == 4


async def test_a_breaker_is_not_entered_twice_by_one_call() -> None:
    """An endpoint that holds its probe may call the upstream of the same breaker: the probe is not refused."""
    async with calling(200, circuit_breaker=BREAKER) as called:
        breaker = called.config.breaker("quotes")
        breaker.open(1)
        called.clock.advance(1)
        async with breaker:
            with pytest.raises(CircuitOpen):
                await called.get()
            around.set(Surroundings(("quotes",), retried=False))
            assert await called.get() == 200
        assert breaker.state == "closed"


async def test_in_an_outage_the_load_stays_near_the_normal_rate() -> None:
    """A budget of a tenth: 200 calls are at most 220 and the reserve of ten; with a breaker, a handful."""
    async with calling(503, retry=Retry(backoff=0, budget=0.1)) as called:
        for _ in range(200):
            await called.get()
        assert 200 < called.server.calls <= 230
    async with calling(503, retry=Retry(backoff=0, budget=0.1), circuit_breaker=BREAKER) as called:
        for _ in range(200):
            with suppress(CircuitOpen):
                await called.get()
        assert called.server.calls == 6


async def test_retry_after_is_respected() -> None:
    """Never sooner than asked for, and not at all where that is too long; a date is not understood."""
    async with calling(503, retry=Retry(backoff=0)) as called:
        called.server.fields = {"retry-after": "9"}
        assert await called.get() == 503
        assert called.server.calls == 1
        called.server.fields = {"retry-after": "Mon, 23 Nov 2026 00:00:00 GMT"}
        await called.get()
        assert called.server.calls == 4
        called.server.fields = {"retry-after": "1"}
        called.server.says(503, 200)
        task = asyncio.ensure_future(called.get())
        while called.server.calls < 5 or "1 sleeping" not in repr(called.clock):
            await asyncio.sleep(0.001)
        called.server.fields = {}
        called.clock.advance(1)
        assert await task == 200


async def test_a_stall_ends_at_the_limit_and_counts() -> None:
    """Of the head and of the body; an attempt may have a limit of its own; a stream that says so may go on."""
    slow = Timeout(seconds=SOON)
    for mood in ("stall", "drip"):
        async with calling(mood, timeout=slow, circuit_breaker=CircuitBreaker(fail_max=1)) as called:
            with pytest.raises(httpx.TimeoutException):
                await called.get()
            assert called.config.breaker("quotes").state == "open"
    async with calling("stall", 200, timeout=Timeout(seconds=5, per_attempt=SOON), retry=RETRY) as called:
        assert await called.get() == 200
    async with calling("drip", timeout=Timeout(seconds=5, until="start")) as called:
        task = asyncio.ensure_future(called.get())
        while not called.server.calls:
            await asyncio.sleep(0.001)
        called.clock.advance(10)
        await asyncio.sleep(SOON)
        assert not task.done()
        called.server.go_on.set()
        with pytest.raises(httpx.RemoteProtocolError):
            await task


async def test_no_call_outlives_the_deadline() -> None:
    """Whatever the upstream's own limit: it stalls until the deadline, and after that nothing is sent."""
    async with calling("stall", timeout=Timeout(seconds=60), retry=RETRY) as called:
        called.within(SOON)
        with pytest.raises(httpx.TimeoutException):
            await called.get()
        assert called.server.calls <= 3
        called.clock.advance(1)
        called.server.heads.clear()
        with pytest.raises(httpx.TimeoutException, match="the deadline has passed"):
            await called.get()
        assert called.server.calls == 0


async def test_cancelled_at_the_deadline_is_late() -> None:
    """The stack cancels its handler then: for the breaker of what it waited for that is a failure."""
    async with calling("stall", circuit_breaker=CircuitBreaker(fail_max=1)) as called:
        called.within(60)
        task = asyncio.ensure_future(called.get())
        while not called.server.calls:
            await asyncio.sleep(0)
        called.clock.advance(60)
        task.cancel()
        await asyncio.wait([task])
        assert called.config.breaker("quotes").state == "open"


async def test_listed_hosts_are_told_the_deadline() -> None:
    """In milliseconds, and nobody else; without a limit there is nothing to tell."""
    for hosts, told in (([], None), (["127.0.0.1"], "1500")):
        async with calling(200, deadline_hosts=hosts) as called:
            current.set(None)
            await called.get()
            called.within(1.5)
            await called.get()
            assert heard(called.server.heads, "x-request-timeout-ms") == [None, told]


async def test_the_callers_own_waits_hold_too() -> None:
    """A request may ask for less than the policy; more it does not get."""
    async with calling("stall", timeout=Timeout(seconds=60)) as called:
        with pytest.raises(httpx.ReadTimeout):
            await called.client.get("/quotes/1", timeout=SOON)
    async with calling("stall", timeout=Timeout(seconds=SOON)) as called:
        with pytest.raises(httpx.ReadTimeout):
            await called.client.get("/quotes/1", timeout=None)


async def test_a_pool_without_a_free_connection_is_no_failure_of_the_upstream() -> None:
    """Our own overload opens no breaker and is not tried again; its caller hears that it took too long."""
    async with calling("stall", circuit_breaker=CircuitBreaker(fail_max=1), retry=RETRY) as called:
        crowd = [asyncio.ensure_future(called.client.get("/quotes/1", timeout=None)) for _ in range(100)]
        while called.server.calls < 100:
            await asyncio.sleep(0.001)
        with pytest.raises(httpx.PoolTimeout) as full:
            await called.client.get("/quotes/1", timeout=httpx.Timeout(5, pool=SOON))
        assert called.config.outgoing.failure(full.value) == ("quotes", True)
        assert called.server.calls == 100
        assert called.config.breaker("quotes").state == "closed"
        for each in crowd:
            each.cancel()
        await asyncio.wait(crowd)


async def test_who_failed_is_known_by_the_error() -> None:
    """An error of another client, of no request, or of our own making, blames nobody."""
    async with calling("reset") as called:
        blame = called.config.outgoing.failure
        with pytest.raises(httpx.TransportError) as reset:
            await called.get()
        assert blame(reset.value) == ("quotes", False)
        async with httpx.AsyncClient(trust_env=False) as other:
            with pytest.raises(httpx.TransportError) as elsewhere:
                await other.get(called.server.url)
        assert blame(elsewhere.value) is None
        assert blame(httpx.ReadError("of no request")) is None
        assert blame(ValueError()) is None
        called.server.says(500, 404)
        for said in (("quotes", False), None):
            with pytest.raises(httpx.HTTPStatusError) as status:
                (await called.client.get("/quotes/1")).raise_for_status()
            assert blame(status.value) == said
        with pytest.raises(httpx.UnsupportedProtocol) as wrong:
            await called.client.get("gopher://quotes/1")
        assert blame(wrong.value) is None


def test_a_name_that_is_not_there_is_told() -> None:
    """With the nearest that is, or all of them."""
    config = JobConfig(endpoints={}, upstreams={"payments": Upstream(base_url="https://payments.internal")})
    with pytest.raises(ConfigError, match='no upstream named "paiments"; did you mean "payments"'):
        config.upstream("paiments")
    with pytest.raises(ConfigError, match="; there are payments"):
        config.upstream("zzz")
    assert repr(config.outgoing) == "<Upstreams payments>"


def test_an_upstream_shares_a_breaker_by_name() -> None:
    """With an endpoint that says the same; two that differ are a mistake."""
    named = CircuitBreaker(name="payments")
    endpoint = EndpointPolicy(circuit_breaker=named)
    upstream = Upstream(base_url="https://payments.internal", circuit_breaker=CircuitBreaker(fail_max=3))
    shared = JobConfig(
        endpoints={"pay": endpoint}, upstreams={"other": upstream.model_copy(update={"circuit_breaker": named})}
    )
    assert shared.breaker("payments") is shared.breakers.of(named, "pay")
    with pytest.raises(ConfigError, match=r'upstreams\."payments"\.circuit_breaker\.name: "payments" is also the name'):
        JobConfig(endpoints={"pay": endpoint}, upstreams={"payments": upstream})


def test_without_httpx_the_start_says_what_is_missing() -> None:
    """Only where upstreams are named."""
    text = """
import sys
sys.modules["httpx"] = None
from forecourt import ConfigError, JobConfig
from forecourt.types import SystemClock
JobConfig(endpoints={}).outgoing.bind(SystemClock())
try:
    JobConfig(endpoints={}, upstreams={"a": {"base_url": "http://a"}}).outgoing.bind(SystemClock())
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "upstreams: calling them needs httpx: pip install 'forecourt[httpx]'\n"


def test_surroundings_end_with_their_call() -> None:
    """What is further in has both; what is over guards nothing."""
    outer = Surroundings(("a",), retried=False)
    inner = outer.within(("b",), retried=True)
    assert inner.guarded_by("a")
    assert inner.guarded_by("b")
    assert repr(inner) == "<Surroundings ('a', 'b'), retried>"
    outer.end()
    assert not outer.guarded_by("a")
    assert not outer.within(("b",), retried=False).guarded_by("a")
    assert repr(outer) == "<Surroundings ('a',), over>"
