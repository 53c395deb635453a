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
from locust import constant, events, task
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from benchmarks.load.calls import write
from benchmarks.load.noted import Guessing, Noted
from benchmarks.load.users_address import BURST
from forecourt import JobConfig
from forecourt.auth.development import development_token

_SCOPES = ("read:records", "write:records")
_policies = Path(__file__).parents[2] / "examples" / "records" / "policies.toml"
_issuer = JobConfig.from_file(_policies).issuers[0]
_addresses = (f"127.0.{at >> 8}.{at & 255}" for at in itertools.count(2))
_numbers = itertools.count()
_titles: list[str] = []


class Client(Noted):
    """One client."""

    abstract = True

    def on_start(self) -> None:
        address = next(_addresses)
        token = development_token(_issuer, address, id=address, scopes=_SCOPES, roles=["editor"], seconds=86_400)
        self.appear(address, token)

    def get_record(self, *, patient: bool = False) -> Any:
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
        answer = self.get_record()
        if answer.status_code == 429 and "retry-after" in answer.headers:
            time.sleep(float(answer.headers["retry-after"]))
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
        answer = self.call(
            "create_record",
            "POST",
            "/records",
            json={"title": title},
            right=lambda answer: "" if answer.json()["title"] == title else "another title than the one sent",
        )
        if answer.status_code == 201:
            _titles.append(title)


class Exporter(Client):
    """Exports, three at once: one runs, one waits for its turn, one is refused."""

    fixed_count = 3
    wait_time = constant(1)

    @task
    def export(self) -> None:
        gevent.joinall([gevent.spawn(self.call, "export_records", "GET", "/records/export") for _ in range(3)])


class Guesser(Guessing, Client):
    """Guesses passwords, and now and then knows one."""

    fixed_count = 3


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
    write(report / "calls.jsonl", Noted.calls)
    (report / "titles.json").write_text(json.dumps(_titles), "utf-8")
    tables = StatsCSV(environment, PERCENTILES_TO_REPORT)
    for name, rows in (("stats", tables.requests_csv), ("failures", tables.failures_csv)):
        with (report / f"locust_{name}.csv").open("w", encoding="utf-8", newline="") as file:
            rows(csv.writer(file))
