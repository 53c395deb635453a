"""The command behind `scripts/load service`: load examples/service on a Valkey, and check what its one file promises.

Twelve endpoints, on as many workers as asked, with a fleet for its jobs and a server behind that fails now and then.
What clients saw is judged at the end: limits, credits, keys, tenants, streams, webhooks, jobs, and that nothing was
answered that the service's OpenAPI document does not name.
"""

import argparse
import base64
import json
import os
import secrets
import subprocess
import sys
import tomllib
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.e2e.servers import free_port, stop, wait
from benchmarks.load.calls import SeenCall, read
from benchmarks.load.checks import ERROR_BUDGET, LEAST_CALLS, Check, excess
from benchmarks.valkey import running
from forecourt import Issuer
from forecourt.auth.development import development_token

_LOCUSTFILE = Path(__file__).with_name("service_users.py")
_POLICIES = Path(__file__).parents[2] / "examples" / "service" / "policies.toml"
ISSUER = Issuer.model_validate(tomllib.loads(_POLICIES.read_text("utf-8"))["issuers"][0])
TENANTS = ("red", "blue")

SCRIPT = [*[200] * 20, 503, 503, *[200] * 20, "reset", *[200] * 40] * 100
"""What the server behind does with each call; its failures are few enough to be tried again."""

STREAM = 0.5
"""Seconds that ten events take."""

CREDITS = 1000 // 10
"""Jobs that a client may pay for in a month."""

MUST: Mapping[str, frozenset[int]] = {
    "guide": frozenset({200}),
    "login": frozenset({200, 401, 429}),
    "search_records": frozenset({200, 429}),
    "get_record": frozenset({200, 404, 429}),
    "create_record": frozenset({201, 409, 429}),
    "upload": frozenset({201, 429}),
    "upload_too_large": frozenset({413, 429}),
    "upload_no_picture": frozenset({415, 429}),
    "events": frozenset({200, 429}),
    "paid_once": frozenset({204, 429}),
    "paid_again": frozenset({409, 429}),
    "paid_forged": frozenset({403, 429}),
    "make_digest": frozenset({202, 402, 429}),
    "result": frozenset({200, 404, 409, 202, 425, 429}),
    "jobs_of_others": frozenset({404, 429}),
    "get_rate": frozenset({200, 429}),
    "list_records_v1": frozenset({200, 429}),
    "remove_tenant": frozenset({403, 429}),
    "health": frozenset({200}),
    "metrics": frozenset({200}),
    "console": frozenset({200}),
    "state": frozenset({403, 429}),
    "operator_state": frozenset({200, 429}),
    "operator_remove": frozenset({204, 429}),
}
"""What each kind of call may be answered, by its policy."""

REFUSE = ("login", "search_records", "upload", "events", "make_digest")
"""Kinds of call of which users make more than may be."""


class Told(NamedTuple):
    """What users wrote down, and what the service shows at the end: the titles of each tenant."""

    records: Sequence[tuple[str, str, int]]
    jobs: Sequence[tuple[str, str]]
    kept: Mapping[str, Sequence[str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 when something is not true that must be."""
    parser = argparse.ArgumentParser("scripts/load service", description=__doc__)
    parser.add_argument("--time", default="60s", help="how long, as locust says it (default 60s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that serve (default 2)")
    parser.add_argument("--report", type=Path, default=Path("benchmarks/results/load"), help="where reports go")
    options = parser.parse_args(arguments)
    options.report.mkdir(parents=True, exist_ok=True)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    os.environ.update(SERVICE_WEBHOOK_SECRET=f"whsec_{secret}", SERVICE_KEY=secrets.token_hex(32))
    with running() as server, _service(server.url, options.workers, options.report / "service.log") as address:
        _locust(address, options.time, options.report)
        told = json.loads((options.report / "service.json").read_text("utf-8"))
        told["kept"] = _kept(address)
    checks = check(list(read(options.report / "calls.jsonl")), Told(**told))
    lines = [f"{'ok    ' if each.passed else 'FAILED'}  {each.name}: {each.figures}" for each in checks]
    print("\nWhat must be true", *lines, sep="\n  ")
    (options.report / "service.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return 0 if all(each.passed for each in checks) else 1


def check(calls: Sequence[SeenCall], told: Told) -> list[Check]:
    """Return what must be true of the calls, and of what the service keeps."""
    wrong = Counter(call.wrong for call in calls if call.wrong)
    return [
        Check("there was a load", len(calls) >= LEAST_CALLS, f"{len(calls)} calls of {_clients(calls)} clients"),
        _answered(calls),
        _expected(calls),
        Check("every answer is its caller's own", not wrong, str(dict(wrong)) if wrong else "all"),
        _refused(calls),
        _limit(calls, "login", 401, 9, "fewer than ten failures a minute"),  # two counters: below twice the limit
        _limit(calls, "search_records", 200, 59, "fewer than sixty searches a minute, unless paid for", gold=True),
        _open_at_once(calls),
        _credits(told),
        _once(told),
    ]


def _clients(calls: Sequence[SeenCall]) -> int:
    return len({call.client for call in calls})


def _answered(calls: Sequence[SeenCall]) -> Check:
    failed = Counter((call.endpoint, call.status) for call in calls if call.status == 0 or call.status >= 500)
    share = sum(failed.values()) / max(1, len(calls))
    return Check(
        f"errors within {ERROR_BUDGET:.1%}", share <= ERROR_BUDGET, f"{share:.3%} {dict(failed) or ''}".rstrip()
    )


def _expected(calls: Sequence[SeenCall]) -> Check:
    other = Counter(
        (call.endpoint, call.status)
        for call in calls
        if 0 < call.status < 500 and call.status not in MUST[call.endpoint]
    )
    kinds = {call.endpoint for call in calls}
    silent = sorted(MUST.keys() - kinds)
    figures = str(other) if other else f"not asked: {silent}" if silent else f"{len(kinds)} kinds of call"
    return Check("every status is the policy's", not other and not silent, figures)


def _refused(calls: Sequence[SeenCall]) -> Check:
    """Limits that refused nobody were not tried; whoever is refused hears when to come back."""
    refused = Counter(call.endpoint for call in calls if call.status == 429 or call.status == 402)
    mute = sum(call.retry_after is None for call in calls if call.status == 429)
    silent = [name for name in REFUSE if not refused[name]]
    figures = f"{dict(refused)}, {mute} without Retry-After" + (f"; nobody of {silent}" if silent else "")
    return Check("every limit refused someone, and said for how long", not silent and not mute, figures)


def _limit(calls: Sequence[SeenCall], endpoint: str, status: int, most: int, says: str, *, gold: bool = False) -> Check:
    """Two counters estimate a sliding minute: exact for even callers, below twice the limit for any."""
    admitted: dict[str, list[SeenCall]] = defaultdict(list)
    for call in calls:
        if call.endpoint == endpoint and call.status == status and call.counted:
            admitted[call.client].append(call)
    worst = sorted(excess(each, lambda span: most * (1 + int(span // 60))) for each in admitted.values())
    over = [each for each in worst if each > 0]
    passed = bool(worst) and len(over) <= int(gold)
    return Check(f"{endpoint}: {says}", passed, f"{len(worst)} clients, against the bound {worst}")


def _open_at_once(calls: Sequence[SeenCall]) -> Check:
    """Look at three streams that were asked for at once: each lasts half a second, so the third finds two open."""
    streams = sorted((call for call in calls if call.endpoint == "events"), key=lambda call: (call.client, call.sent))
    trios = [
        trio
        for trio in zip(streams, streams[1:], streams[2:], strict=False)
        if trio[0].client == trio[2].client
        and trio[2].sent - trio[0].sent < STREAM / 5
        and max(each.received - each.sent for each in trio) < 2 * STREAM
    ]
    over = sum(all(each.status == 200 for each in trio) for trio in trios)
    return Check(
        "two streams for each client", bool(trios) and not over, f"{len(trios)} times three, {over} of them open"
    )


def _credits(told: Told) -> Check:
    paid = Counter(owner for owner, _ in told.jobs)
    return Check(
        f"nobody has more than {CREDITS} jobs for their credits",
        bool(paid) and max(paid.values()) <= CREDITS,
        f"{sum(paid.values())} jobs, of one client at most {max(paid.values(), default=0)}",
    )


def _once(told: Told) -> Check:
    kept = Counter((tenant, title) for tenant, titles in told.kept.items() for title in titles)
    lost = sum(kept[tenant, title] == 0 for tenant, title, _ in told.records)
    twice = sum(number > 1 for number in kept.values())
    return Check("every record is kept, once", not lost and not twice, f"{len(kept)} kept, {lost} lost, {twice} twice")


@contextmanager
def _service(store: str, workers: int, log: Path) -> Iterator[str]:
    port, rates = free_port(), free_port()
    command = [sys.executable, "-m", "examples.service", "--store", store, "--workers", str(workers)]
    with log.open("w") as output:  # a line for each failure
        surroundings = {**os.environ, "PORT": str(port), "RATES_PORT": str(rates)}
        process = subprocess.Popen(command, env=surroundings, stdout=output, stderr=output, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait(f"{address}/health/live", process)
        script = urllib.request.Request(f"http://127.0.0.1:{rates}/script", json.dumps(SCRIPT).encode(), method="PUT")
        urllib.request.urlopen(script, timeout=10).close()
        yield address
    finally:
        stop(process)


def _locust(address: str, duration: str, report: Path) -> None:
    surroundings = {**os.environ, "LOAD_REPORT": str(report)}
    surroundings["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])
    users = ["--headless", "--only-summary", "--users", "18", "--spawn-rate", "6", "--run-time", duration]
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(_LOCUSTFILE),
        *users,
        "--stop-timeout",
        "20",
        "--host",
        address,
    ]
    subprocess.run(command, check=False, env=surroundings)


def _kept(address: str) -> dict[str, list[str]]:
    """Ask for all titles of each tenant, as one of theirs."""
    kept = {}
    for tenant in TENANTS:
        token = development_token(ISSUER, "auditor", id=tenant, scopes=["records:read"], tenant=tenant)
        asking = urllib.request.Request(f"{address}/v1/records", headers={"authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asking, timeout=30) as answer:
            kept[tenant] = json.load(answer)
    return kept


if __name__ == "__main__":
    sys.exit(main())
