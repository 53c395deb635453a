"""The command behind `scripts/load prometheus`: a real Prometheus that scrapes the observability example under load.

Locust's users make the example do all that it has: limits, credits, a breaker that opens, jobs, statements. At the end
Prometheus is asked, by its HTTP API, for every query of the dashboard and every rule of examples/observability.
"""

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.e2e.servers import free_port, stop, wait
from benchmarks.load.checks import Check
from benchmarks.valkey import running

EXAMPLE = Path(__file__).parents[2] / "examples" / "observability"
_LOCUSTFILE = Path(__file__).with_name("watched_users.py")
_USERS = 7
_LABELS = re.compile(r"label_values\((.*), (\w+)\)")


class Query(NamedTuple):
    """A query of the dashboard: of which panel, and what it asks."""

    panel: str
    expression: str

    def within(self, seconds: float) -> str:
        """Return what Grafana would ask, for all endpoints, with rates over so many seconds."""
        asked = self.expression.replace("$__rate_interval", f"{math.ceil(seconds)}s").replace("$endpoint", ".*")
        return _LABELS.sub(r"count by (\2) (\1)", asked)


class Prometheus:
    """A Prometheus that runs, asked by its HTTP API."""

    def __init__(self, address: str) -> None:
        self._address = address

    def values(self, expression: str) -> list[float]:
        """Return what a query finds now, numbers only."""
        found = self._ask("query", query=expression)["result"]
        values = [float(each["value"][1]) for each in found]
        return [value for value in values if not math.isnan(value)]

    def targets(self) -> dict[str, str]:
        """Return what it scrapes, and how it last went: empty is well."""
        return {each["scrapeUrl"]: each["lastError"] for each in self._ask("targets")["activeTargets"]}

    def rules(self) -> dict[str, str]:
        """Return the rules by name, and how each last went: `ok` is well."""
        return {rule["name"]: rule["health"] for group in self._ask("rules")["groups"] for rule in group["rules"]}

    def firing(self) -> set[str]:
        """Return the alerts that fire."""
        return {each["labels"]["alertname"] for each in self._ask("alerts")["alerts"] if each["state"] == "firing"}

    def _ask(self, what: str, **asked: str) -> Any:
        address = f"{self._address}/api/v1/{what}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 when something is not true that must be."""
    parser = argparse.ArgumentParser("scripts/load prometheus", description=__doc__)
    parser.add_argument("--time", default="60s", help="how long, as locust says it (default 60s)")
    options = parser.parse_args(arguments)
    with running() as server, watched(server.url) as address, scraping(address) as prometheus:
        users = ["--headless", "--only-summary", "--users", str(_USERS), "--spawn-rate", "7", "--host", address]
        locust = [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), *users, "--run-time", options.time]
        path = os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])
        subprocess.run([*locust, "--stop-timeout", "5"], check=False, env={**os.environ, "PYTHONPATH": path})
        checks = check(prometheus, 60)
    lines = [f"{'ok    ' if each.passed else 'FAILED'}  {each.name}: {each.figures}" for each in checks]
    print("\nWhat must be true", *lines, sep="\n  ")
    return 0 if all(each.passed for each in checks) else 1


def queries() -> list[Query]:
    """Return what the dashboard asks."""
    dashboard = json.loads((EXAMPLE / "dashboard.json").read_text("utf-8"))
    panels = [Query(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    return panels + [Query(f"${each['name']}", each["query"]) for each in dashboard["templating"]["list"]]


def check(prometheus: Prometheus, seconds: float) -> list[Check]:
    """Return what must be true of a Prometheus that has scraped a loaded service for so many seconds."""
    targets, rules = prometheus.targets(), prometheus.rules()
    broken = {name: health for name, health in rules.items() if health != "ok"}
    recorded = [name for name in rules if ":" in name]
    firing = prometheus.firing()
    return [
        Check("the service is scraped", bool(targets) and not any(targets.values()), str(targets)),
        *(_panel(prometheus, query, seconds) for query in queries()),
        Check("every rule is evaluated", bool(rules) and not broken, str(broken or f"{len(rules)} rules")),
        *(_recorded(prometheus, name) for name in recorded),
        Check("the alert of the open breaker fires", "ForecourtBreakerOpen" in firing, ", ".join(sorted(firing))),
    ]


def _panel(prometheus: Prometheus, query: Query, seconds: float) -> Check:
    values = prometheus.values(query.within(seconds))
    figures = f"{len(values)} series, {min(values):.4g} to {max(values):.4g}" if values else query.within(seconds)
    return Check(f"panel {query.panel!r}", bool(values), figures)


def _recorded(prometheus: Prometheus, name: str) -> Check:
    values = prometheus.values(name)
    return Check(f"rule {name}", bool(values), f"{len(values)} series")


@contextmanager
def watched(store: str) -> Iterator[str]:
    """Serve the example; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "examples.observability.app:app", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--no-access-log", "--log-level", "error"],
        env={**os.environ, "STORE_URL": store},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # a line for each request
        start_new_session=True,
    )
    try:
        wait(f"http://127.0.0.1:{port}/quotes/first", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


@contextmanager
def scraping(address: str, every: str = "1s") -> Iterator[Prometheus]:
    """Run Prometheus with the example's configuration and rules, scraping this address so often."""
    binary = shutil.which("prometheus")
    if binary is None:
        raise SystemExit("prometheus is not installed: it is in Debian's package `prometheus`")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        written = (EXAMPLE / "prometheus.yml").read_text("utf-8")
        written = re.sub(r"_interval: \w+", f"_interval: {every}", written).replace("app:8000", address[7:])
        shutil.copy(EXAMPLE / "rules.yml", folder)
        Path(folder, "prometheus.yml").write_text(written, "utf-8")
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _ready(f"http://127.0.0.1:{port}/-/ready", process)
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            stop(process)


def _ready(address: str, process: "subprocess.Popen[bytes]") -> None:
    late = time.monotonic() + 60
    while time.monotonic() < late:
        if process.poll() is not None:
            raise RuntimeError(f"prometheus ended with {process.returncode} before it was ready")
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("prometheus was not ready within a minute")


if __name__ == "__main__":
    sys.exit(main())
