"""Users of the quotes, a locustfile: they ask at an even rate, whether they were answered or not, as the world does.

QUOTES_PATH says which of the example's endpoints they ask. Every call is noted in LOAD_REPORT.
"""

import os
import time
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]  # it ships no types
from locust import HttpUser, between, events, task
from locust.env import Environment
from requests.adapters import HTTPAdapter

from benchmarks.load.calls import SeenCall, write

_PATH = os.environ["QUOTES_PATH"]
_calls: list[SeenCall] = []
_under_way: set[Any] = set()


class Caller(HttpUser):
    """Asks so many times a second; does not wait for an answer to ask again."""

    abstract = True

    def on_start(self) -> None:
        self.client.mount("http://", HTTPAdapter(pool_maxsize=100))
        self.client.trust_env = False

    def ask(self, endpoint: str, path: str) -> None:
        """Make a call beside those that are under way."""
        greenlet = gevent.spawn(self._ask, endpoint, path)
        _under_way.add(greenlet)
        greenlet.link(_under_way.discard)

    def _ask(self, endpoint: str, path: str) -> None:
        sent = time.monotonic()
        with self.client.get(path, name=endpoint, catch_response=True, timeout=15) as answer:
            received = time.monotonic()
            status = answer.status_code or 0
            said = answer.headers.get("retry-after") if status else None
            kind = answer.json().get("type", "") if status >= 400 else ""
            answer.success()  # what may be answered is judged at the end
        retry_after = float(said) if said else None
        _calls.append(SeenCall(endpoint, "", sent, received, status, False, retry_after, wrong=kind))


class Asker(Caller):
    """Wants a quote."""

    fixed_count = 8
    wait_time = between(0.1, 0.3)

    @task
    def quote(self) -> None:
        self.ask("quote", f"/{_PATH}/ACME")


class Visitor(Caller):
    """Asks whether the service is alive."""

    fixed_count = 1
    wait_time = between(0.3, 0.7)

    @task
    def health(self) -> None:
        self.ask("health", "/health")


@events.test_stop.add_listener  # type: ignore[untyped-decorator]  # locust's
def _write_down(environment: Environment, **_: Any) -> None:
    """Write the calls, once those under way are answered."""
    gevent.joinall(list(_under_way), timeout=16)
    write(Path(os.environ["LOAD_REPORT"]) / "calls.jsonl", _calls)
