"""Users whose every call is noted: what came back, when, and what was not right about it."""

import time
from typing import Any, ClassVar

import gevent  # type: ignore[import-untyped]  # it ships no types
from locust import HttpUser, constant, task

from benchmarks.load.calls import SeenCall
from benchmarks.load.users_address import FromAddress


class Noted(HttpUser):
    """A client with an address of its own, and a token; a 429 is an answer like others, a 5xx is not."""

    abstract = True
    address: str
    calls: ClassVar[list[SeenCall]] = []
    """All calls of all users of this process."""

    def appear(self, address: str, token: str) -> None:
        """Call from this address, with this token."""
        self.address = address
        self.client.mount("http://", FromAddress(address))
        self.client.trust_env = False
        self.client.headers["authorization"] = f"Bearer {token}"

    def call(
        self, endpoint: str, method: str, path: str, right: Any = None, *, patient: bool = False, **sent: Any
    ) -> Any:
        """Make a call, note it, and return the answer; `right` says what is wrong with one that is a success."""
        started = time.monotonic()
        with self.client.request(method, path, name=endpoint, catch_response=True, timeout=20, **sent) as answer:
            ended = time.monotonic()
            status = answer.status_code or 0
            said = answer.headers.get("retry-after") if status else None
            wrong = right(answer) if right is not None and 200 <= status < 300 else ""
            counted = bool(status and "ratelimit" in answer.headers)
            wait = float(said) if said else None
            self.calls.append(SeenCall(endpoint, self.address, started, ended, status, counted, wait, patient, wrong))
            if 0 < status < 500 and not wrong:
                answer.success()
            else:
                answer.failure(wrong or f"status {status}")
        return answer


class Guessing(Noted):
    """Guesses passwords, four at once, and knows one."""

    abstract = True
    wait_time = constant(1)

    @task
    def guess(self) -> None:
        gevent.joinall([gevent.spawn(self._log_in, "guess") for _ in range(4)])
        self._log_in("open sesame")

    def _log_in(self, password: str) -> None:
        self.call("login", "POST", "/login", json={"name": "ali", "password": password})
