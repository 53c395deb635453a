"""Users of jobs, a locustfile for the reports example: they submit, look, fetch and cancel, and pry on each other.

Each client has an address of its own in 127.0.0.0/8, and so its own jobs. What each was told is written to LOAD_REPORT.
"""

import itertools
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from locust import HttpUser, constant, events, task
from locust.env import Environment

from benchmarks.load.jobs import Accepted
from benchmarks.load.users_address import FromAddress

_addresses = (f"127.1.{at >> 8}.{at & 255}" for at in itertools.count(2))
_numbers = itertools.count()
_accepted: list[Accepted] = []
_wrong: list[str] = []


class Client(HttpUser):
    """Submits a report, follows it to its end, and now and then gives it up or asks for another's."""

    wait_time = constant(0.05)

    def on_start(self) -> None:
        self.address = next(_addresses)
        self.client.mount("http://", FromAddress(self.address))
        self.client.trust_env = False

    @task(6)
    def follow(self) -> None:
        job = self._submit()
        if job is not None and self._ended(job) == "succeeded":
            job.result = self._asked("result", f"/jobs/{job.id}/result", 200).get("title", "")

    @task(2)
    def give_up(self) -> None:
        job = self._submit()
        if job is not None:
            job.cancelled = True
            with self.client.delete(f"/jobs/{job.id}", name="cancel", catch_response=True) as answer:
                self._judge(answer, 204, 409)

    @task(1)
    def leave(self) -> None:
        """Submit and never ask again."""
        self._submit()

    @task(2)
    def pry(self) -> None:
        others = [job for job in _accepted[-200:] if job.address != self.address]
        if others:
            job = random.choice(others)
            for path in (f"/jobs/{job.id}", f"/jobs/{job.id}/result", f"/jobs/{job.id}/events"):
                self._asked("another's", path, 404)
            with self.client.delete(f"/jobs/{job.id}", name="another's", catch_response=True) as answer:
                self._judge(answer, 404)

    @task(1)
    def list(self) -> None:
        own = {job.id for job in _accepted if job.address == self.address}
        listed = {job["id"] for job in self._asked("list", "/jobs/?limit=100", 200).get("jobs", ())}
        if listed - own:
            _wrong.append("the list held another's job")

    def _submit(self) -> Accepted | None:
        title = f"report {next(_numbers)} of {self.address}"
        sent = {"title": title, "rounds": random.choice((1, 1, 1, 20))}
        with self.client.post("/reports", json=sent, name="submit", catch_response=True) as answer:
            self._judge(answer, 202)
            if answer.status_code != 202:
                return None
            job = Accepted(answer.json()["id"], self.address, title)
        _accepted.append(job)
        return job

    def _ended(self, job: Accepted) -> str:
        for _ in self._while(20):
            status: str = self._asked("look", f"/jobs/{job.id}", 200).get("status", "")
            if status not in ("queued", "running"):
                return status
        return ""

    def _while(self, seconds: float) -> Iterator[None]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            yield
            time.sleep(0.1)

    def _asked(self, name: str, path: str, *statuses: int) -> dict[str, Any]:
        with self.client.get(path, name=name, catch_response=True, timeout=15) as answer:
            self._judge(answer, *statuses)
            return answer.json() if answer.status_code == 200 else {}

    def _judge(self, answer: Any, *statuses: int) -> None:
        if answer.status_code in statuses:
            answer.success()
        else:
            answer.failure(f"status {answer.status_code}")
            if answer.request.path_url.startswith("/jobs") and 404 in statuses:
                _wrong.append(f"another's job answered {answer.status_code}")


@events.test_stop.add_listener  # type: ignore[untyped-decorator]  # locust's
def _write_down(environment: Environment, **_: Any) -> None:
    """Write what was accepted, and what was wrong."""
    told = {"jobs": [job.written() for job in _accepted], "wrong": _wrong}
    (Path(os.environ["LOAD_REPORT"]) / "jobs.json").write_text(json.dumps(told), "utf-8")
