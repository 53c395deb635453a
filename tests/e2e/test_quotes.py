"""The quotes example with a real server and a real client, while the server behind it fails by script."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from forecourt.core.retrying import RESERVE
from tests.servers import free_port

pytestmark = pytest.mark.slow


RESET = 2
"""Seconds that the breaker waits, as the example's policies say; a probe is of three attempts at most."""


BUDGET = 0.1
"""Retries that each call adds to the budget, as the example's policies say."""


class Quotes:
    """The service and the server behind it, as a client sees them."""

    def __init__(self, port: int, upstream: int) -> None:
        self.service = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)
        self.upstream = httpx.Client(base_url=f"http://127.0.0.1:{upstream}", timeout=20, trust_env=False)

    def says(self, *script: int | str) -> None:
        """Have the other server go on by this script."""
        self.upstream.put("/script", json=script).raise_for_status()

    @property
    def calls(self) -> int:
        """How often the other server was asked."""
        number: int = self.upstream.get("/calls").json()["calls"]
        return number

    @property
    def received(self) -> int:
        """How many bytes of files have come to the other server."""
        number: int = self.upstream.get("/calls").json()["received"]
        return number

    def statuses(self, times: int, path: str = "/quotes/ACME") -> list[int]:
        """Ask so many times, one after another."""
        return [self.service.get(path).status_code for _ in range(times)]

    def crowd(self, times: int, path: str = "/quotes/ACME") -> list[int]:
        """Ask so many times, eight at once."""
        with ThreadPoolExecutor(8) as pool:
            return [answer.status_code for answer in pool.map(lambda _: self.service.get(path), range(times))]


@pytest.fixture(name="quotes", scope="module")
def _quotes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quotes]:
    """Start the example; stop it as Ctrl-C does, which must end it with 0."""
    port, upstream = free_port(), free_port()
    log = tmp_path_factory.mktemp("quotes") / "log"
    with log.open("w") as output:  # a pipe that nobody reads would stop it
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.quotes"],
            env={**os.environ, "PORT": str(port), "UPSTREAM_PORT": str(upstream)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Quotes(port, upstream)
    try:
        _wait(running.service, process, log)
        yield running
    finally:
        running.service.close()
        running.upstream.close()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    said = log.read_text()
    assert process.returncode == 0, said
    assert "Traceback" not in said, said


def test_an_outage_from_its_beginning_to_its_end(quotes: Quotes) -> None:
    """Only documented statuses, a server that is left alone while it is down, and quotes again within one wait.

    How often it is asked while it is down: five calls that fail open the breaker, and the other seven of the crowd's
    eight may be under way by then. Each of these asks once; all their retries come out of one budget, of `RESERVE` at
    most and `BUDGET` more with each call, so that not every call has its three attempts.
    """
    _until(quotes, [200])  # the first call of all is slow, and each attempt has 0.3 s
    quotes.says(503, "reset", 200)
    assert quotes.statuses(2) == [200, 200]

    quotes.says("reset", 503)
    before, begun = quotes.calls, time.monotonic()
    told = quotes.crowd(200)
    probes = int((time.monotonic() - begun) / RESET)  # on a slow machine the crowd outlasts a wait: one probe is let in
    assert {502, 503} <= set(told) <= {502, 503, 504}  # on a slow machine an attempt may also be cut off
    assert told.count(503) > 150
    let_in = 5 + 7 + probes
    assert quotes.calls - before <= let_in + RESERVE + int(BUDGET * let_in)

    quotes.says(200)
    begun = time.monotonic()
    _until(quotes, [200])
    assert time.monotonic() - begun <= RESET + 0.5
    assert quotes.statuses(10) == [200] * 10


def test_the_contrast_without_policies(quotes: Quotes) -> None:
    """The bare upstream is asked by every caller, however long it has been down."""
    quotes.says(503)
    before = quotes.calls
    assert set(quotes.crowd(100, "/bare/ACME")) == {502}
    assert quotes.calls - before == 100


def test_a_stall_costs_callers_no_more_than_the_limit(quotes: Quotes) -> None:
    """504 by the upstream's timeout, and none of its attempts is left behind."""
    quotes.says(200)
    _until(quotes, [200])
    quotes.says("stall")
    begun = time.monotonic()
    assert quotes.statuses(1) == [504]
    assert time.monotonic() - begun < 2
    quotes.says(200)
    assert quotes.statuses(1) == [200]


def test_a_file_passes_in_pieces(quotes: Quotes) -> None:
    """The other server has the beginning before the end is sent, and the client before the end has come."""
    quotes.says(200)
    _until(quotes, [200])
    came: list[int] = []

    def pieces() -> Iterator[bytes]:
        yield b"a" * 200_000
        late = time.monotonic() + 10
        while quotes.received < 200_000 and time.monotonic() < late:
            time.sleep(0.01)
        came.append(quotes.received)
        yield b"b" * 300_000

    assert quotes.service.put("/charts/may", content=pieces()).status_code == 201
    assert came == [200_000]
    assert quotes.service.get("/charts/may").content == b"a" * 200_000 + b"b" * 300_000
    assert quotes.service.get("/charts/june").status_code == 404
    quotes.says("drip", 200)
    with quotes.service.stream("GET", "/charts/may") as answer:
        assert next(answer.iter_bytes(1000)) == b"a" * 1000
    assert quotes.statuses(1) == [200]


def test_a_script_that_cannot_be_is_refused(quotes: Quotes) -> None:
    """The other server goes on as before."""
    for wrong in ("[]", "[99]", '["smile"]', "{"):
        assert quotes.upstream.put("/script", content=wrong).status_code == 400


def _until(quotes: Quotes, wanted: Sequence[int]) -> None:
    late = time.monotonic() + 10
    while quotes.statuses(len(wanted)) != list(wanted):
        assert time.monotonic() < late
        time.sleep(0.02)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    late = time.monotonic() + 60
    while time.monotonic() < late:
        assert process.poll() is None, log.read_text()
        try:
            client.get("/health")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the example did not start within a minute")
