"""The command behind `scripts/load quotes`: callers of the quotes example, while the server behind it fails by script.

The script is that of `PHASES`: all well, one call in twenty fails, then nothing but errors, resets and stalls, with
time to recover after each. Three runs meet it: through an upstream with policies, through a bare one, and with three
attempts by hand. Of the first it is checked what callers heard, what the dead server was asked, and when quotes came
again; of the others only that the trouble was real.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.e2e.servers import free_port, stop, wait
from benchmarks.load.calls import SeenCall, read
from benchmarks.load.checks import LEAST_CALLS, Check
from forecourt.responses import TYPES

_LOCUSTFILE = Path(__file__).with_name("quote_users.py")
_SEED = 7

Script = list[int | str]


class Phase(NamedTuple):
    """A part of the run: its share of the time, and what the server behind meets each call with."""

    name: str
    share: int
    script: Script


class Passed(NamedTuple):
    """A phase that is over: from when to when, and how often the server behind was asked in it."""

    name: str
    began: float
    ended: float
    asked: int

    @property
    def rate(self) -> float:
        """How often it was asked in a second."""
        return self.asked / (self.ended - self.began)


def _flaky(calls: int) -> Script:
    """Return a script by which one call in twenty fails, in each of the three ways."""
    chance = random.Random(_SEED)
    bad: Sequence[int | str] = (503, "reset", "stall")
    return [chance.choice(bad) if chance.random() < 0.05 else 200 for _ in range(calls)] + [200]


PHASES = (
    Phase("normal", 4, [200]),
    Phase("flaky", 4, _flaky(20_000)),
    Phase("errors", 3, [503]),
    Phase("after errors", 2, [200]),
    Phase("resets", 3, ["reset"]),
    Phase("after resets", 2, [200]),
    Phase("stalls", 3, ["stall"]),
    Phase("after stalls", 3, [200]),
)
DEAD = ("errors", "resets", "stalls")

RESET = 2.0
"""Seconds that the breaker stays open, by examples/quotes/policies.toml."""

PROBE = 1.0
"""Seconds that a call to the upstream may take: a probe that began in an outage may fail so much after its end."""

PATIENCE = 2.0
"""Seconds that a caller waits at most: the endpoint's own timeout."""

SLACK = 0.5
"""Seconds that a machine under load may add."""

NORMAL = 1.1
"""The dead server may be asked so much more often than the healthy one: the retry budget is a tenth."""

DOCUMENTED = {
    200: {""},
    502: {f"{TYPES}upstream-failed"},
    503: {f"{TYPES}circuit-open"},
    504: {f"{TYPES}upstream-late", f"{TYPES}deadline-exceeded"},
}
"""What docs/layers/upstreams.md and docs/layers/timeout.md say that callers hear, and the types of problem."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 when something is not true that must be."""
    parser = argparse.ArgumentParser("scripts/load quotes", description=__doc__)
    parser.add_argument("--time", default="60s", help="how long each of three runs is, such as 60s (default 60s)")
    parser.add_argument("--report", type=Path, default=Path("benchmarks/results/load"), help="where reports go")
    options = parser.parse_args(arguments)
    seconds = float(options.time.removesuffix("s"))
    options.report.mkdir(parents=True, exist_ok=True)
    lines = []
    passed = True
    for path, judge in (("quotes", check), ("bare", contrast), ("stubborn", contrast)):
        print(f"== /{path}, {seconds:g} s", file=sys.stderr)
        phases, calls = _run(path, seconds, options.report)
        checks = judge(phases, calls)
        passed = passed and all(each.passed for each in checks)
        lines += [f"\n/{path}", *table(phases, calls)]
        lines += [f"{'ok    ' if each.passed else 'FAILED'}  {each.name}: {each.figures}" for each in checks]
    print("\nWhat must be true", *lines, sep="\n  ")
    (options.report / "quotes.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return 0 if passed else 1


def check(phases: Sequence[Passed], calls: Sequence[SeenCall]) -> list[Check]:
    """Return what must be true where policies keep failures in bounds."""
    quotes = [call for call in calls if call.endpoint == "quote"]
    return [
        _enough(quotes),
        _documented(quotes),
        _retry_after(quotes),
        _well(quotes, phases[0], 1),
        _well(quotes, phases[1], 0.99),
        *(_left_alone(phase, phases[0]) for phase in phases if phase.name in DEAD),
        *(_recovered(quotes, phase) for phase in phases if phase.name.startswith("after")),
        _soon(quotes),
        _alive(calls),
    ]


def contrast(phases: Sequence[Passed], calls: Sequence[SeenCall]) -> list[Check]:
    """Return what must be true of a run without policies, or the other has shown nothing."""
    quotes = [call for call in calls if call.endpoint == "quote"]
    asked = min(phase.rate / phases[0].rate for phase in phases if phase.name in DEAD[:2])
    longest = max((call.received - call.sent for call in quotes), default=0)
    return [
        _enough(quotes),
        Check("the dead server is asked by everyone", asked >= 0.9, f"{asked:.2f} × the normal rate or more"),
        Check("callers wait as long as it likes", longest > PATIENCE + SLACK, f"{longest:.1f} s at most"),
    ]


def table(phases: Sequence[Passed], calls: Sequence[SeenCall]) -> list[str]:
    """Return a line for each phase: what the server behind was asked, what callers heard, how long they waited."""
    lines = [f"{'':14}{'asked':>7}{'/ normal':>10}{'p50':>9}{'longest':>9}  answers"]
    for phase in phases:
        seen = _in(calls, phase)
        times = sorted(call.received - call.sent for call in seen) or [0.0]
        heard = ", ".join(f"{number} × {status}" for status, number in sorted(Counter(c.status for c in seen).items()))
        ratio = phase.rate / phases[0].rate
        waited = f"{times[len(times) // 2] * 1000:7.0f}ms{times[-1] * 1000:7.0f}ms"
        lines.append(f"{phase.name:14}{phase.asked:7}{ratio:10.2f}{waited}  {heard}")
    return lines


def _in(calls: Sequence[SeenCall], phase: Passed) -> list[SeenCall]:
    return [call for call in calls if call.endpoint == "quote" and phase.began <= call.sent < phase.ended]


def _enough(quotes: Sequence[SeenCall]) -> Check:
    return Check("there was a load", len(quotes) >= LEAST_CALLS, f"{len(quotes)} calls")


def _documented(quotes: Sequence[SeenCall]) -> Check:
    heard = Counter((call.status, call.wrong) for call in quotes)
    other = {what: number for what, number in heard.items() if what[1] not in DOCUMENTED.get(what[0], ())}
    figures = str(other) if other else str(dict(sorted(Counter(call.status for call in quotes).items())))
    return Check("callers hear what is documented", not other, figures)


def _retry_after(quotes: Sequence[SeenCall]) -> Check:
    refused = [call for call in quotes if call.status == 503]
    right = all(call.retry_after is not None and 1 <= call.retry_after <= RESET for call in refused)
    return Check("every 503 says when to come back", right and bool(refused), f"{len(refused)} refused")


def _well(quotes: Sequence[SeenCall], phase: Passed, least: float) -> Check:
    seen = _in(quotes, phase)
    share = sum(call.status == 200 for call in seen) / max(1, len(seen))
    return Check(f"{phase.name}: {least:.0%} of the calls are answered", share >= least, f"{share:.2%} of {len(seen)}")


def _left_alone(phase: Passed, normal: Passed) -> Check:
    ratio = phase.rate / normal.rate
    figures = f"{ratio:.2f} × ({phase.rate:.1f} against {normal.rate:.1f} calls a second)"
    return Check(f"{phase.name}: the dead server is asked at most {NORMAL} × the normal rate", ratio <= NORMAL, figures)


def _recovered(quotes: Sequence[SeenCall], phase: Passed) -> Check:
    """Quotes are there again within one wait of the breaker, and stay."""
    seen = _in(quotes, phase)
    first = min((call.received for call in seen if call.status == 200), default=float("inf"))
    bound = RESET + PROBE + SLACK
    later = {call.status for call in seen if call.sent > first + SLACK}
    right = first - phase.began <= bound and later == {200}
    return Check(f"{phase.name}: quotes again within {RESET:g} s and one probe", right, f"{first - phase.began:.2f} s")


def _soon(quotes: Sequence[SeenCall]) -> Check:
    longest = max(call.received - call.sent for call in quotes)
    return Check(f"nobody waits longer than {PATIENCE:g} s", longest <= PATIENCE + SLACK, f"{longest:.2f} s at most")


def _alive(calls: Sequence[SeenCall]) -> Check:
    seen = Counter(call.status for call in calls if call.endpoint == "health")
    return Check("the service itself is well all the while", set(seen) == {200}, str(dict(seen)))


def _run(path: str, seconds: float, report: Path) -> tuple[list[Passed], list[SeenCall]]:
    """Serve the example, have it asked at this path, and have the server behind follow the phases."""
    with _example(report / f"quotes-{path}.log") as (address, upstream):
        surroundings = {**os.environ, "QUOTES_PATH": path, "LOAD_REPORT": str(report)}
        surroundings["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])
        users = ["--headless", "--only-summary", "--users", "9", "--spawn-rate", "9", "--host", address]
        locust = subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), *users, "--stop-timeout", "20"], env=surroundings
        )
        try:
            _until_asked(upstream)
            phases = list(_follow(upstream, seconds))
        finally:
            locust.terminate()
            locust.wait(60)
    return phases, list(read(report / "calls.jsonl"))


@contextmanager
def _example(log: Path) -> Iterator[tuple[str, str]]:
    port, upstream = free_port(), free_port()
    with log.open("w") as output:  # a warning for each call that failed
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.quotes"],
            env={**os.environ, "PORT": str(port), "UPSTREAM_PORT": str(upstream)},
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait(f"{address}/health", process)
        yield address, f"http://127.0.0.1:{upstream}"
    finally:
        stop(process)


def _follow(upstream: str, seconds: float) -> Iterator[Passed]:
    unit = seconds / sum(phase.share for phase in PHASES)
    for phase in PHASES:
        _ask(f"{upstream}/script", json.dumps(phase.script).encode())
        began, before = time.monotonic(), _calls(upstream)
        time.sleep(phase.share * unit)
        yield Passed(phase.name, began, time.monotonic(), _calls(upstream) - before)


def _until_asked(upstream: str) -> None:
    late = time.monotonic() + 60
    while _calls(upstream) < LEAST_CALLS // 4:
        if time.monotonic() > late:
            raise SystemExit("nobody asked within a minute")
        time.sleep(0.2)


def _calls(upstream: str) -> int:
    return int(_ask(f"{upstream}/calls")["calls"])


def _ask(address: str, told: bytes | None = None) -> dict[str, int]:
    request = urllib.request.Request(address, told, method="PUT" if told else "GET")
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, int] = json.load(answer)
    return found


if __name__ == "__main__":
    sys.exit(main())
