"""The command behind scripts/load: serve the demo, load it, check what must be true; 1 when something is not."""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.e2e.servers import free_port, stop
from benchmarks.load.calls import read
from benchmarks.load.checks import check
from benchmarks.valkey import running
from forecourt import JobConfig
from forecourt.auth.development import development_token

_LOCUSTFILE = Path(__file__).with_name("users.py")
_POLICIES = Path(__file__).parents[2] / "examples" / "records" / "policies.toml"
ISSUER = JobConfig.from_file(_POLICIES).issuers[0]
_USERS = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("scripts/load", description=__doc__)
    parser.add_argument("--time", default="60s", help="how long, as locust says it: 60s, 5m (default 60s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the demo (default 2)")
    parser.add_argument("--report", type=Path, default=Path("benchmarks/results/load"), help="where reports go")
    options = parser.parse_args(arguments)
    options.report.mkdir(parents=True, exist_ok=True)
    with running() as server, _demo(server.url, options.workers) as address:
        print(f"== the demo on {options.workers} workers and Valkey {server.version}, {options.time}", file=sys.stderr)
        if failed := _locust(address, options.time, options.report):
            print(f"locust ended with {failed}", file=sys.stderr)
        kept = _titles(address)
    return _judge(options.report, kept) or (failed if failed not in (0, 1) else 0)


@contextmanager
def _demo(store: str, workers: int) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.records", "--store", store, "--workers", str(workers)],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(f"{address}/health", process)
        yield address
    finally:
        stop(process)


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the demo ended with {process.returncode} before it answered")
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the demo did not answer within 30 seconds")


def _locust(address: str, duration: str, report: Path) -> int:
    """Run the users; return locust's exit code, 1 when calls failed (the checks judge how many)."""
    users = ["--users", str(_USERS), "--spawn-rate", "6", "--run-time", duration, "--stop-timeout", "20"]
    reports = ["--html", str(report / "locust.html"), "--only-summary"]
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(_LOCUSTFILE),
        "--headless",
        "--host",
        address,
        *users,
        *reports,
    ]
    surroundings = {**os.environ, "LOAD_REPORT": str(report), "PYTHONPATH": _path()}
    return subprocess.run(command, check=False, env=surroundings).returncode


def _path() -> str:
    """Return where modules are found, this project first."""
    return os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])


def _titles(address: str) -> list[str]:
    token = development_token(ISSUER, "auditor", id="auditor", scopes=["read:records"])
    asking = urllib.request.Request(f"{address}/records", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asking, timeout=30) as answer:
        return [record["title"] for record in json.load(answer)]


def _judge(report: Path, kept: Sequence[str]) -> int:
    sent = json.loads((report / "titles.json").read_text("utf-8"))
    checks = check(list(read(report / "calls.jsonl")), sent, kept)
    lines = [f"{'ok    ' if each.passed else 'FAILED'}  {each.name}: {each.figures}" for each in checks]
    print("\nWhat must be true", *lines, f"\nReports: {report}", sep="\n  ")
    (report / "checks.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return 0 if all(each.passed for each in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
