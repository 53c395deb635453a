"""The small service that the commands of a page are typed about: its policies, and what has happened to it before."""

import asyncio
import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from joserfc import jwt
from joserfc.jwk import OctKey
from starlette.testclient import TestClient

from forecourt import JobConfig
from forecourt.cli import main
from forecourt.jobs.queue import Ending, NewJob
from forecourt.jobs.queues import JobQueues
from forecourt.payload.keys import generated
from forecourt.principals import Keys
from forecourt.types import SECOND, SystemClock
from tests.documented.surroundings import SECRET
from tests.servers import Valkey

HOURLY = 'rate_limit = { type = "fixed_window", limit = 100, window = 3600, key = "client", name = "hourly" }\n'
MAINTENANCE = "[default.maintenance]\n"
ISSUER = """
[[issuers]]
issuer = "https://issuer.example"
audience = "records"
secret = "env:ISSUER_SECRET"
"""

SEARCHED = f"""
[default]
rate_limit = {{{{ type = "fixed_window", limit = 3, window = 3600, name = "hourly" }}}}
{ISSUER}
[endpoints.get_record]
security = {{{{ scopes = ["read"] }}}}

[endpoints.search]
rate_limit = {{{{ type = "fixed_window", limit = {{limit}}, window = 60 }}}}
"""

Said = Sequence[str]
"""What the commands before printed, line by line."""


def as_it_is(line: str, _said: Said) -> str:
    """Return a command as the page has it."""
    return line


class Service(NamedTuple):
    """What the commands of a page are about.

    `before` has things happen to the service, in its folder, before the first command; `typed` returns a command with
    what stands for something (an id that was printed) replaced by it; `given` is what a pipe begins with. `exits` are
    the codes of those commands, by their first words, that find something.
    """

    policies: str = "[default]\n"
    newer: str = "[default]\n"
    routes: Mapping[str, str] = {"create_record": "/records"}
    before: Callable[[Valkey], None] = lambda _valkey: None
    typed: Callable[[str, Said], str] = as_it_is
    given: Callable[[], str] = str
    exits: Mapping[str, int] = {}


def spent(valkey: Valkey) -> None:
    """Let a window that ends in half an hour have counted a hundred calls of one address."""
    key = Keys("fc").key("fw1", "@hourly", "client", "192.0.2.7")
    state = "return redis.call('SET', KEYS[1], struct.pack('<dd', redis.call('TIME')[1] * 1e6 + 1800e6, 100))"
    valkey.ask("EVAL", state, "1", key)


def called_thrice(_valkey: Valkey) -> None:
    """Let alice have called as often as she may."""
    claims = {"iss": "https://issuer.example", "aud": "records", "sub": "alice", "scope": "read", "exp": 4_000_000_000}
    token = jwt.encode({"alg": "HS256", "typ": "at+jwt"}, claims, OctKey.import_key(SECRET))
    os.environ["FORECOURT_TOKEN"] = token
    with TestClient(importlib.import_module("main").app) as client:
        for _ in range(3):
            assert client.get("/records/1", headers={"authorization": f"Bearer {token}"}).status_code == 200


def recorded(_valkey: Valkey) -> None:
    """Let the service have started, answered eleven calls, each of two records, and stopped."""
    with TestClient(importlib.import_module("main").app) as client:
        for _ in range(11):
            assert client.get("/records").status_code == 200


def a_ring(_valkey: Valkey) -> None:
    """Make a ring file of one key."""
    assert main(["secrets", "rotate", "ring", "add"]) == 0


def a_jwk(_valkey: Valkey) -> None:
    """Make the ring, and a public key of alice."""
    a_ring(_valkey)
    key = generated("x25519", "alice-1")
    Path("alice.jwk").write_text(json.dumps({name: key[name] for name in ("kty", "crv", "x", "kid")}), "utf-8")


def queued(_valkey: Valkey) -> None:
    """Put a job that waits and a dead one into the queue."""
    asyncio.run(_queued())


async def _queued() -> None:
    queue = JobQueues(JobConfig(), SystemClock()).queue("default")
    await queue.open()
    times = (10 * SECOND, 0, 1000 * SECOND, 500 * SECOND, 100)
    await queue.publish(NewJob("default.dead", "ali", "work", "", b"envelope", 1, *times))
    (held,) = await queue.claim(1)
    await queue.finish(held.id, held.token, Ending("failed", reason="it raised"))
    await queue.publish(NewJob("default.waits", "ali", "work", "", b"envelope", 1, *times))
    await queue.close()


def of_a_job(line: str, _said: Said) -> str:
    """Name a job: a dead one where one is tried again, else one that waits."""
    return line.replace("JOB…", "JOB").replace("JOB", "default.dead" if " retry " in line else "default.waits")


def of_a_key(line: str, said: Said) -> str:
    """Name the last key that was made: its middle part."""
    made = [each for each in said if each.count("_") >= 2 and " " not in each]
    return line.replace("3fTq9ZxLw2Ab", made[-1].split("_")[1] if made else "")


def of_the_old_key(line: str, said: Said) -> str:
    """Name the ring's last key, which is the one that was used before."""
    ids = [each.split()[0] for each in said if not each.startswith(("next", "{"))]
    return line.replace("9f2c11a0", ids[-1] if ids else "")


SERVICES: Mapping[str, Service] = {
    "docs/config.md": Service(
        policies=SEARCHED.format(limit=5) + '[endpoints."admin:*"]\nsecurity = { roles = ["admin"] }\n',
        newer=SEARCHED.format(limit=50),
        routes={"get_record": "/records/{record_id}", "search": "/search", "admin:list": "/admin"},
        before=called_thrice,
        exits={"forecourt diff": 1},
    ),
    "docs/live-config.md": Service(newer="[default]\nmax_body = 1000\n", exits={"forecourt diff": 1}),
    "docs/layers/audit.md": Service(
        policies='keys = ["env:AUDIT_KEY"]\naudit_log = "audit.jsonl"\n[default]\naudit = {}\n',
        before=recorded,
        given=lambda: Path("audit.jsonl").read_text("utf-8"),
    ),
    "docs/layers/auth.md": Service(
        policies='revocation = true\n[default]\n[api_keys]\nfile = "keys.json"\npepper = "env:KEY_PEPPER"\n' + ISSUER,
        typed=of_a_key,
    ),
    "docs/layers/credits.md": Service(policies="[default]\n[accounts]\nquota = { amount = 1000 }\n"),
    "docs/layers/encryption.md": Service(
        policies='keys = ["file:ring"]\n[default]\nencryption = { at_rest = true }\n[api_keys]\nfile = "keys.json"\n',
        before=a_jwk,
        typed=of_the_old_key,
    ),
    "docs/layers/maintenance.md": Service(policies=MAINTENANCE, routes={"reports.list": "/reports"}),
    "docs/layers/offload.md": Service(before=queued, typed=of_a_job),
    "docs/layers/rate-limit.md": Service(
        policies="limit_overrides = true\n[default]\n" + HOURLY,
        before=spent,
    ),
    "docs/tutorial.md": Service(
        policies='[[issuers]]\ndevelopment = true\naudience = "records"\n[default]\n',
    ),
}
