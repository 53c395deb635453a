"""Serves the example: `python -m examples.service [--store URL] [--workers N] [--postgres URL]`; PORT is 8000."""

import argparse
import asyncio
import base64
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn

from examples.quotes.flaky import Flaky

SCOPES = ("records:read", "records:write", "digests:make")

TRY = """
The service listens on http://127.0.0.1:{port}. Store: {store}; audit trail: {trail}

Tokens of an hour, for this machine:
  ALI={ali}
  OPS={ops}

A page for everybody, kept; a record made once for its key; a search that is asked once a tenant.
  for i in 1 2; do curl -si http://127.0.0.1:{port}/ | grep -i '^cache-status'; done
  for i in 1 2; do curl -si http://127.0.0.1:{port}/records -H "authorization: Bearer $ALI" \\
    -H 'idempotency-key: first' -H 'content-type: application/json' -d '{{"title": "one"}}' \\
    | grep -iE '^(HTTP|idempotent)'; done
  for i in 1 2; do curl -si "http://127.0.0.1:{port}/records?title=o" -H "authorization: Bearer $ALI" \\
    | grep -iE '^(HTTP|cache-status|ratelimit:)'; done

A paid job: 202, and its result where Location says.
  curl -si http://127.0.0.1:{port}/digests -H "authorization: Bearer $ALI" -H 'content-type: application/json' \\
    -d '{{"text": "hello"}}' | grep -iE '^(HTTP|location)'

Another server that fails by script, and what callers see of it:
  curl -sX PUT {rates}/script -d '[503, 503, 200]'
  curl -si http://127.0.0.1:{port}/rates/EUR -H "authorization: Bearer $ALI" | head -1

Operators: http://127.0.0.1:{port}/console/ (paste $OPS), /health/ready, /metrics
  curl -si -X DELETE http://127.0.0.1:{port}/admin/tenants/shared -H "authorization: Bearer $OPS" | head -1
  tail -1 {trail}

What protects what:  .venv/bin/forecourt show examples.service.app:app     Stop: Ctrl-C
"""


async def behind(port: int) -> None:
    """Serve the rates, for ever."""
    async with Flaky(200).running(port):
        await asyncio.Event().wait()


def surroundings(store: str, rates: str, trail: str, database: str) -> dict[str, str]:
    """Return what the policies and the app read from the environment; keys are made up where none are given."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    made = {"SERVICE_KEY": secrets.token_hex(32), "SERVICE_WEBHOOK_SECRET": f"whsec_{secret}"}
    told = {name: os.environ.get(name, value) for name, value in made.items()}
    places = {"SERVICE_RATES": rates, "SERVICE_AUDIT_LOG": trail, "SERVICE_DATABASE": database}
    return {**told, **places, "FORECOURT_STORE": store}


def token(*said: str) -> str:
    """Sign a token of the development issuer."""
    policies = Path(__file__).with_name("policies.toml")
    command = [sys.executable, "-m", "forecourt.cli", "token", "--config", str(policies), *said]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Serve until stopped, with a worker for jobs beside it where the queue is outside of the process."""
    parser = argparse.ArgumentParser(prog="demo service", description="A whole service, protected by one file.")
    parser.add_argument("--store", default="memory://", help="where limits and jobs live, such as redis://127.0.0.1")
    parser.add_argument("--workers", type=int, default=1, help="processes that serve")
    parser.add_argument("--postgres", metavar="URL", help="a database such as postgresql+asyncpg://user@host/name")
    given = parser.parse_args()
    port = int(os.environ.get("PORT", "8000"))
    rates = int(os.environ.get("RATES_PORT", str(port + 1)))
    threading.Thread(target=lambda: asyncio.run(behind(rates)), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        trail = os.environ.get("SERVICE_AUDIT_LOG", str(Path(folder, "audit.jsonl")))
        database = given.postgres or f"sqlite+aiosqlite:///{Path(folder, 'service.sqlite3')}"
        address = f"http://127.0.0.1:{rates}"
        os.environ.update(surroundings(given.store, address, trail, database))
        tokens = {
            "ali": token("--subject", "ali", *(f"--scope={each}" for each in SCOPES)),
            "ops": token("--subject", "ops", "--role", "operator"),
        }
        store = given.store.rpartition("@")[2]
        print(TRY.format(port=port, store=store, trail=trail, rates=address, **tokens), flush=True)
        serve(port, given.workers, inside=given.store.startswith("memory:"))


def serve(port: int, workers: int, *, inside: bool) -> None:
    """Serve, and stop the worker of jobs afterwards."""
    command = [sys.executable, "-m", "forecourt.cli", "worker", "examples.service.app:app"]
    fleet = None if inside else subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again when it has stopped
    try:
        uvicorn.run("examples.service.app:app", port=port, workers=workers, log_level="warning", access_log=False)
    finally:
        if fleet is not None:
            fleet.terminate()
            fleet.wait()


if __name__ == "__main__":
    main()
