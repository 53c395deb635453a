"""The command behind `scripts/load jobs`: load the reports example on a Valkey, and look at every job at the end.

Every job that was accepted has one end: a result of its own title, the same whenever it is fetched, or cancelled where
somebody gave it up. None is lost, none is another's.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.e2e.servers import free_port, stop
from benchmarks.load.checks import Check
from benchmarks.valkey import running

_LOCUSTFILE = Path(__file__).with_name("job_users.py")
_USERS = 12


@dataclass
class Accepted:
    """A job that was answered 202: whose, for which title, what its owner got, whether they gave it up."""

    id: str
    address: str
    title: str
    result: str = ""
    cancelled: bool = False

    def written(self) -> dict[str, object]:
        """Return it for a file."""
        return asdict(self)


@dataclass
class Ended:
    """How a job stands at the end: its status (empty: nobody knows it), attempts, and the title in its result."""

    status: str
    attempts: int = 0
    title: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 when something is not true that must be."""
    parser = argparse.ArgumentParser("scripts/load jobs", description=__doc__)
    parser.add_argument("--time", default="60s", help="how long, as locust says it (default 60s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that run jobs (default 2)")
    parser.add_argument("--report", type=Path, default=Path("benchmarks/results/load"), help="where reports go")
    options = parser.parse_args(arguments)
    options.report.mkdir(parents=True, exist_ok=True)
    with running() as server:
        port = free_port()
        command = [sys.executable, "-m", "examples.reports", "--store", server.url, "--workers", str(options.workers)]
        surroundings = {**os.environ, "PORT": str(port), "LOAD_REPORT": str(options.report)}
        surroundings["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])
        service = subprocess.Popen(command, env=surroundings, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address)
            users = ["--headless", "--only-summary", "--users", str(_USERS), "--spawn-rate", "6"]
            times = ["--run-time", options.time, "--stop-timeout", "25", "--host", address]
            locust = [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), *users, *times]
            subprocess.run(locust, check=False, env=surroundings)
            told = json.loads((options.report / "jobs.json").read_text("utf-8"))
            accepted = [Accepted(**each) for each in told["jobs"]]
            checks = check(accepted, {job.id: ended(address, job) for job in accepted}, told["wrong"])
        finally:
            stop(service)
    lines = [f"{'ok    ' if each.passed else 'FAILED'}  {each.name}: {each.figures}" for each in checks]
    print("\nWhat must be true", *lines, sep="\n  ")
    return 0 if all(each.passed for each in checks) else 1


def check(accepted: Sequence[Accepted], ends: dict[str, Ended], wrong: Sequence[str]) -> list[Check]:
    """Return what must be true of the jobs that were accepted, of how each stands at the end, and of what users saw."""
    statuses = Counter(ends[job.id].status for job in accepted)
    lost = [job for job in accepted if ends[job.id].status not in ("succeeded", "cancelled")]
    given_up = [job for job in accepted if ends[job.id].status == "cancelled" and not job.cancelled]
    done = [job for job in accepted if ends[job.id].status == "succeeded"]
    other = [job for job in done if ends[job.id].title != job.title or job.result not in ("", job.title)]
    again = sum(ends[job.id].attempts > 1 for job in done)
    ids = len({job.id for job in accepted})
    return [
        Check("there was a load", len(accepted) >= 100, f"{len(accepted)} jobs accepted"),
        Check("every job is one of its own", ids == len(accepted), f"{ids} ids"),
        Check("none is lost", not lost, str(dict(statuses))),
        Check("none was cancelled but by its owner", not given_up, f"{statuses['cancelled']} cancelled"),
        Check("every result is the job's own", not other, f"{len(done)} results, {again} of a second attempt"),
        Check("nobody sees another's job", not wrong, ", ".join(sorted(set(wrong))) or "all 404"),
    ]


def ended(address: str, job: Accepted) -> Ended:
    """Wait for a job's end, 60 seconds at most, as its owner."""
    until = time.monotonic() + 60
    while True:
        status, shown = _get(address, job, f"/jobs/{job.id}")
        if status != 200:
            return Ended("")
        if shown["status"] not in ("queued", "running") or time.monotonic() > until:
            break
        time.sleep(0.2)
    title = _get(address, job, f"/jobs/{job.id}/result")[1].get("title", "")
    return Ended(str(shown["status"]), int(str(shown["attempts"])), str(title))


def _get(address: str, job: Accepted, path: str) -> tuple[int, dict[str, object]]:
    while True:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=15, source_address=(job.address, 0))
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 429:
            return answer.status, json.loads(body)
        time.sleep(0.1)


def _wait(address: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=2)
            connection.request("GET", "/health")
            connection.getresponse()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the service did not answer within 60 seconds")


if __name__ == "__main__":
    sys.exit(main())
