"""Users of examples/service, a locustfile: of each of its twelve endpoints, and of what operators look at.

Each client is a subject with an address of its own in 127.0.0.0/8, of one of two tenants. Every call is noted, with
what was not right about its answer; at the end the calls, the records and the jobs are written to LOAD_REPORT.
"""

import base64
import datetime as dt
import hashlib
import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]  # it ships no types
from locust import constant, events, task
from locust.env import Environment
from standardwebhooks import Webhook

from benchmarks.load.calls import write
from benchmarks.load.noted import Guessing, Noted
from benchmarks.load.service import ISSUER, TENANTS
from forecourt.auth.development import development_token

ROUNDS = 2
_numbers = itertools.count(2)
_records: list[tuple[str, str, int]] = []
"""Tenant, title and id of each that was answered 201."""
_jobs: list[tuple[str, str]] = []
"""Whose, and where its status is."""


class Client(Noted):
    """One client of one of the tenants."""

    abstract = True
    scopes: tuple[str, ...] = ("records:read", "records:write")
    roles: tuple[str, ...] = ()
    tier: str | None = None

    def on_start(self) -> None:
        number = next(_numbers)
        address = f"127.2.{number >> 8}.{number & 255}"
        self.tenant = TENANTS[number % len(TENANTS)]
        said = {"scopes": self.scopes, "roles": self.roles, "tenant": self.tenant, "tier": self.tier}
        self.appear(address, development_token(ISSUER, address, id=address, seconds=86_400, **said))


class Visitor(Client):
    """Reads the page for everyone, looks whether the service is well, and where it has no business."""

    fixed_count = 2
    wait_time = constant(0.3)

    @task
    def look(self) -> None:
        self.call("guide", "GET", "/", right=lambda answer: "" if "Records" in answer.text else "another page")
        self.call("health", "GET", "/health/live")
        self.call("metrics", "GET", "/metrics/")
        self.call("console", "GET", "/console/", right=lambda answer: "" if "<html" in answer.text else "no page")
        self.call("state", "GET", "/console/api/state")
        self.call("remove_tenant", "DELETE", f"/admin/tenants/{self.tenant}")


class Guesser(Guessing, Client):
    """Guesses passwords, four at once, and knows one."""

    fixed_count = 2


class Searcher(Client):
    """Searches more often than may be, reads records, and pries on the other tenant's."""

    fixed_count = 3
    wait_time = constant(0.1)

    @task(3)
    def search(self) -> None:
        gevent.joinall([gevent.spawn(self._search) for _ in range(3)])

    @task(3)
    def read(self) -> None:
        own = [each for each in _records if each[0] == self.tenant]
        if own:
            _, title, number = random.choice(own)
            right = lambda answer: "" if answer.json() == {"id": number, "title": title} else "another record"  # noqa: E731
            self.call("get_record", "GET", f"/records/{number}", right=right)

    @task(1)
    def pry(self) -> None:
        others = [each for each in _records if each[0] != self.tenant]
        if others:
            path = f"/records/{random.choice(others)[2]}"
            self.call("get_record", "GET", path, right=lambda _: "another tenant's record")

    @task(1)
    def list_as_before(self) -> None:
        self.call("list_records_v1", "GET", "/v1/records", right=lambda answer: self._own(answer.json()))

    def _search(self) -> None:
        path = f"/records?title={random.choice(['', 'r', 'b'])}"  # the same words of both tenants
        right = lambda answer: self._own([each["title"] for each in answer.json()])  # noqa: E731
        self.call("search_records", "GET", path, right=right)

    def _own(self, titles: list[str]) -> str:
        return "" if all(title.startswith(self.tenant) for title in titles) else "another tenant's record"


class GoldSearcher(Searcher):
    """Pays for more searches."""

    fixed_count = 1
    tier = "gold"


class Writer(Client):
    """Sends each record twice at once with one key, and once more later."""

    fixed_count = 2
    wait_time = constant(0.4)

    @task
    def create(self) -> None:
        title, key = f"{self.tenant} {next(_numbers)}", f'"{next(_numbers)}"'
        ids: list[int] = []
        gevent.joinall([gevent.spawn(self._create, title, key, ids) for _ in range(2)])
        self._create(title, key, ids)
        if len(set(ids)) == 1:
            _records.append((self.tenant, title, ids[0]))

    def _create(self, title: str, key: str, ids: list[int]) -> None:
        def right(answer: Any) -> str:
            ids.append(answer.json()["id"])
            return "" if len(set(ids)) == 1 and answer.json()["title"] == title else "a key made two records"

        headers = {"idempotency-key": key}
        self.call("create_record", "POST", "/records", right=right, json={"title": title}, headers=headers)


class Uploader(Client):
    """Sends six pictures at once, of which four may be under way; now and then one that is too large, or none."""

    fixed_count = 1
    wait_time = constant(0.5)

    @task(4)
    def send(self) -> None:
        gevent.joinall([gevent.spawn(self._send) for _ in range(6)])

    @task(1)
    def send_too_much(self) -> None:
        png = {"content-type": "image/png"}
        self.call("upload_too_large", "POST", "/pictures", data=b"p" * 1_100_000, headers=png)
        self.call("upload_no_picture", "POST", "/pictures", data=b"a,b", headers={"content-type": "text/csv"})

    def _send(self) -> None:
        picture = random.randbytes(200_000)
        right = lambda answer: "" if answer.json()["sha256"] == hashlib.sha256(picture).hexdigest() else "another hash"  # noqa: E731
        self.call("upload", "POST", "/pictures", right=right, data=picture, headers={"content-type": "image/png"})


class Listener(Client):
    """Opens three streams at once, of which two may be open."""

    fixed_count = 1
    wait_time = constant(0.5)

    @task
    def listen(self) -> None:
        gevent.joinall([gevent.spawn(self._listen) for _ in range(3)])

    def _listen(self) -> None:
        right = lambda answer: "" if answer.text.count("data:") == 10 else "a stream broke off"  # noqa: E731
        self.call("events", "GET", "/events?number=10", right=right)


class Payer(Client):
    """Is the payment provider: tells of each payment twice; and somebody else, who signs with another secret."""

    fixed_count = 1
    wait_time = constant(0.3)

    @task
    def pay(self) -> None:
        name = f"msg_{next(_numbers)}"
        self._tell("paid_once", name, os.environ["SERVICE_WEBHOOK_SECRET"])
        self._tell("paid_again", name, os.environ["SERVICE_WEBHOOK_SECRET"])
        self._tell("paid_forged", f"{name}_", "whsec_" + base64.b64encode(bytes(32)).decode())

    def _tell(self, endpoint: str, name: str, secret: str) -> None:
        now, body = dt.datetime.now(dt.UTC), json.dumps({"paid": 10})
        signature = Webhook(secret).sign(name, now, body)
        named = {"webhook-id": name, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
        headers = {**named, "content-type": "application/json", "authorization": ""}
        self.call(endpoint, "POST", "/hooks/payments", data=body, headers=headers)


class Spender(Client):
    """Orders digests, each twice with one key, follows them to their results, and has a thousand credits."""

    fixed_count = 3
    wait_time = constant(0.1)
    scopes = ("digests:make",)

    @task(4)
    def order(self) -> None:
        text, places = f"text {next(_numbers)}", set()
        headers = {"idempotency-key": f'"{text}"'}
        for _ in range(2):
            sent = {"text": text, "rounds": ROUNDS}
            answer = self.call("make_digest", "POST", "/digests", json=sent, headers=headers)
            if answer.status_code != 202:
                return
            places.add(answer.headers["location"])
        _jobs.append((self.address, *places)[:2])
        if len(places) != 1:
            self.calls.append(self.calls[-1]._replace(wrong="a key made two jobs"))
        gevent.spawn(self._follow, places.pop(), text)

    def _follow(self, place: str, text: str) -> None:
        for _ in range(100):
            gevent.sleep(0.3)
            answer = self.call("result", "GET", f"{place}/result", right=lambda answer: _digest(answer, text))
            if answer.status_code == 200:
                return

    @task(1)
    def pry(self) -> None:
        others = [place for address, place in _jobs if address != self.address]
        if others:
            right = lambda _: "another's job"  # noqa: E731
            self.call("jobs_of_others", "GET", random.choice(others), right=right)


class Trader(Client):
    """Asks for rates while the server behind fails now and then."""

    fixed_count = 1
    wait_time = constant(0.2)

    @task
    def ask(self) -> None:
        self.call("get_rate", "GET", "/rates/EUR", right=lambda answer: "" if "EUR" in answer.json() else "no rate")


class Operator(Client):
    """Looks at the console's state, and removes a tenant that nobody is of."""

    fixed_count = 1
    wait_time = constant(1)
    roles = ("operator",)

    @task
    def work(self) -> None:
        self.call("operator_state", "GET", "/console/api/state")
        self.call("operator_remove", "DELETE", "/admin/tenants/nobody")


def _digest(answer: Any, text: str) -> str:
    digest = text.encode()
    for _ in range(ROUNDS):
        digest = hashlib.pbkdf2_hmac("sha256", digest, b"salt", 1000)
    return "" if answer.status_code == 202 or answer.json() == {"digest": digest.hex()} else "another result"


@events.test_stop.add_listener  # type: ignore[untyped-decorator]  # locust's
def _write_down(environment: Environment, **_: Any) -> None:
    """Write what was seen."""
    report = Path(os.environ["LOAD_REPORT"])
    write(report / "calls.jsonl", Noted.calls)
    (report / "service.json").write_text(json.dumps({"records": _records, "jobs": _jobs}), "utf-8")
