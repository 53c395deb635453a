"""The users, a locustfile. Each client is a principal with an address of its own in 127.0.0.0/8: limits count both.

Every call is noted; at the end the calls, and the titles of the records that were kept, are written to LOAD_REPORT.
"""

import csv
import itertools
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]  # it ships no types
from locust import HttpUser, constant, events, task
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from benchmarks.load.calls import SeenCall, write
from benchmarks.load.users_address import BURST, FromAddress
from forecourt import JobConfig
from forecourt.auth.development import development_token

_SCOPES = ("read:records", "write:records")
_policies = Path(__file__).parents[2] / "examples" / "records" / "policies.toml"
_issuer = JobConfig.from_file(_policies).issuers[0]
_addresses = (f"127.0.{at >> 8}.{at & 255}" for at in itertools.count(2))
_numbers = itertools.count()
_calls: list[SeenCall] = []
_titles: list[str] = []


class Client(HttpUser):
    """One client; notes what it sees."""

    abstract = True
    address: str

    def on_start(self) -> None:
        self.address = next(_addresses)
        self.client.mount("http://", FromAddress(self.address))
        self.client.trust_env = False
        token = development_token(
            _issuer, self.address, id=self.address, scopes=_SCOPES, roles=["editor"], seconds=86_400
        )
        self.client.headers["authorization"] = f"Bearer {token}"

    def call(
        self, endpoint: str, method: str, path: str, *, patient: bool = False, right: Any = None, **sent: Any
    ) -> SeenCall:
        """Make a call and note it; a 429 is an answer like others, a 5xx is not."""
        started = time.monotonic()
        with self.client.request(method, path, name=endpoint, catch_response=True, timeout=15, **sent) as answer:
            ended = time.monotonic()
            status = answer.status_code or 0
            said = answer.headers.get("retry-after") if status else None
            wrong = "" if right is None or status not in (200, 201) else right(answer)
            seen = SeenCall(
                endpoint,
                self.address,
                started,
                ended,
                status,
                bool(status and "ratelimit" in answer.headers),
                float(said) if said else None,
                patient,
                wrong,
            )
            if 0 < status < 500 and not wrong:
                answer.success()
            else:
                answer.failure(wrong or f"status {status}")
        _calls.append(seen)
        return seen

    def get_record(self, *, patient: bool = False) -> SeenCall:
        """Ask for a record, and look whether it is that one."""
        number = random.randint(1, 3)
        return self.call(
            "get_record", "GET", f"/records/{number}", patient=patient, right=lambda answer: _is(answer, number)
        )


def _is(answer: Any, number: int) -> str:
    return "" if answer.json()["id"] == number else "another record than the one asked for"


class Burster(Client):
    """Asks many times at once, pauses, and asks again."""

    fixed_count = 6
    wait_time = constant(0.5)

    @task
    def burst(self) -> None:
        gevent.joinall([gevent.spawn(self.get_record) for _ in range(BURST)])


class Patient(Client):
    """Asks until refused, waits as told, and must be let in."""

    fixed_count = 4
    wait_time = constant(0.1)

    @task
    def come_back(self) -> None:
        seen = self.get_record()
        if seen.status == 429 and seen.retry_after is not None:
            time.sleep(seen.retry_after)
            self.get_record(patient=True)


class Writer(Client):
    """Sends new records, a few at once."""

    fixed_count = 4
    wait_time = constant(0.4)

    @task
    def burst(self) -> None:
        gevent.joinall([gevent.spawn(self._write) for _ in range(4)])

    def _write(self) -> None:
        title = f"record {next(_numbers)} of {self.address}"
        seen = self.call(
            "create_record",
            "POST",
            "/records",
            json={"title": title},
            right=lambda answer: "" if answer.json()["title"] == title else "another title than the one sent",
        )
        if seen.status == 201:
            _titles.append(title)


class Exporter(Client):
    """Exports, three at once: one runs, one waits for its turn, one is refused."""

    fixed_count = 3
    wait_time = constant(1)

    @task
    def export(self) -> None:
        gevent.joinall([gevent.spawn(self.call, "export_records", "GET", "/records/export") for _ in range(3)])


class Guesser(Client):
    """Guesses passwords, and now and then knows one."""

    fixed_count = 3
    wait_time = constant(1)

    @task
    def guess(self) -> None:
        gevent.joinall([gevent.spawn(self._log_in, "guess") for _ in range(4)])
        self._log_in("open sesame")

    def _log_in(self, password: str) -> None:
        self.call("login", "POST", "/login", json={"name": "ali", "password": password})


class Visitor(Client):
    """Reads lists and asks for what does not exist."""

    fixed_count = 4
    wait_time = constant(0.2)

    @task(3)
    def health(self) -> None:
        self.call("health", "GET", "/health")

    @task(1)
    def nowhere(self) -> None:
        self.call("nowhere", "GET", "/nowhere")


@events.test_stop.add_listener  # type: ignore[untyped-decorator]  # locust's
def _write_down(environment: Environment, **_: Any) -> None:
    """Write the calls, the titles and locust's tables; its own --csv fails at the end over a file it has closed."""
    report = Path(os.environ["LOAD_REPORT"])
    write(report / "calls.jsonl", _calls)
    (report / "titles.json").write_text(json.dumps(_titles), "utf-8")
    tables = StatsCSV(environment, PERCENTILES_TO_REPORT)
    for name, rows in (("stats", tables.requests_csv), ("failures", tables.failures_csv)):
        with (report / f"locust_{name}.csv").open("w", encoding="utf-8", newline="") as file:
            rows(csv.writer(file))
