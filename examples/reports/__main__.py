"""Serves the example: `python -m examples.reports [--store URL] [--workers N]`; PORT is 8000 unless set."""

import argparse
import base64
import os
import secrets
import signal
import subprocess
import sys

import uvicorn

TRY = """
The reports service listens on http://127.0.0.1:{port}. Store: {store}; jobs are run by {workers}.

A report is a job: 202 and a place to look, then the handler's own answer.
  curl -si http://127.0.0.1:{port}/reports -H 'content-type: application/json' -d '{{"title": "May", "rounds": 2000}}'
  curl -s  http://127.0.0.1:{port}/jobs/ID          how far it has come
  curl -s  http://127.0.0.1:{port}/jobs/ID/result   the report
  curl -si -X DELETE http://127.0.0.1:{port}/jobs/ID

Where it ends, a receiver is told, signed (Standard Webhooks); this one prints what comes:
  python -m examples.reports.receiver &
  curl -si http://127.0.0.1:{port}/reports -H 'content-type: application/json' \\
    -H 'x-callback: http://127.0.0.1:9000/' -d '{{"title": "April"}}'

The same handler answers directly where its policy says so:
  curl -s  http://127.0.0.1:{port}/reports/now -H 'content-type: application/json' -d '{{"title": "May"}}'

Whoever can wait gets it at once; what does not fit the handler is 422 now, and no job.
  curl -s  http://127.0.0.1:{port}/reports -H 'content-type: application/json' -H 'prefer: wait=10' \\
    -d '{{"title": "June"}}'
  curl -si http://127.0.0.1:{port}/reports -H 'content-type: application/json' -d '{{"rounds": 1}}'

The same key is the same job:  -H 'idempotency-key: may'          Stop: Ctrl-C
"""


def main() -> None:
    """Serve until stopped, with workers beside where the queue is outside of the process."""
    serve("reports", "The reports service, whose handler is a job.", TRY)


def serve(name: str, description: str, words: str) -> None:
    """Serve an example whose handlers are jobs; `words` are printed first."""
    parser = argparse.ArgumentParser(prog=f"demo {name}", description=description)
    parser.add_argument("--store", default="memory://", help="where jobs wait, such as redis://127.0.0.1:6379")
    parser.add_argument("--workers", type=int, default=1, help="processes that run jobs; with memory:// the API's own")
    given = parser.parse_args()
    port = int(os.environ.get("PORT", "8000"))
    os.environ["FORECOURT_STORE"] = given.store
    os.environ.setdefault(f"{name.upper()}_KEY", secrets.token_hex(32))
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    os.environ.setdefault(f"{name.upper()}_WEBHOOK_SECRET", f"whsec_{secret}")
    inside = given.store.startswith("memory:")
    workers = "this process" if inside else f"{given.workers} worker(s)"
    print(words.format(port=port, store=given.store.rpartition("@")[2], workers=workers), flush=True)
    command = [sys.executable, "-m", "forecourt.cli", "worker", f"examples.{name}.app:app"]
    fleet = None if inside else subprocess.Popen([*command, "--processes", str(given.workers)])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again when it has stopped
    try:
        uvicorn.run(f"examples.{name}.app:app", port=port, log_level="warning", access_log=False)
    finally:
        if fleet is not None:
            fleet.terminate()
            fleet.wait()


if __name__ == "__main__":
    main()
