"""The command behind scripts/soak: run whole forms by name, say how far they are, and fail when one shows a fault."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.servers import Valkey
from tests.soak import all_kinds, cardinality, databases, faults, over_admission, topologies
from tests.soak.cache_guards import cache_guards
from tests.soak.idempotency_kills import main as kills
from tests.soak.job_kills import whole
from tests.soak.results import Result
from tests.soak.rotation import rotation
from tests.soak.stale_reads import stale_reads
from tests.soak.transaction_kills import transaction_kills


def idempotency_kills(trials: int = 300) -> Iterator[Result]:
    """Workers killed with -9 while they carry out keyed calls: nothing runs twice, nothing stays in progress."""
    with Valkey() as server:
        faults = asyncio.run(kills(trials, server.url))
    yield Result("kill -9 under idempotency claims", f"{trials} trials", f"{faults} faults", faults == 0)


def job_kills(seconds: float = 600) -> Iterator[Result]:
    """Workers of jobs killed with -9 and frozen, the queue's server restarted: one result for each job, none lost."""
    for name, pulsar in (("Valkey", False), ("Pulsar", True)):
        found = whole(1, seconds, pulsar=pulsar, seed=1)
        told = f"{found.reruns} run again, recoveries of at most {max(found.recoveries, default=0):.2f} s"
        size = f"{found.jobs} jobs, {found.kills} kills, {found.restarts} restarts"
        yield Result(f"kill -9 under jobs on {name}", size, "; ".join([told, *found.judged()]), not found.judged())


def cache_marks(requests: int = 1_000_000) -> Iterator[Result]:
    """Requests of 50 principals over four processes: no answer of the cache carries another caller's mark."""
    command = [sys.executable, "-m", "tests.soak.cache_marks", "--requests", str(requests)]
    leaked = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
    yield Result(
        "marks of callers in kept answers", f"{requests:,} requests", "a leak" if leaked else "none", not leaked
    )


SOAKS: dict[str, Callable[[], Iterator[Result]]] = {
    "over-admission": over_admission.over_admission,
    "cut-connections": faults.cut_connections,
    "loop-gap": faults.loop_gap,
    "gone-and-back": faults.gone_and_back,
    "kill-9": faults.kill_9,
    "idempotency-kills": idempotency_kills,
    "transaction-kills": transaction_kills,
    "job-kills": job_kills,
    "cache-marks": cache_marks,
    "cache-guards": cache_guards,
    "stale-reads": stale_reads,
    "cancelled-sessions": databases.cancelled_sessions,
    "all-kinds": all_kinds.all_kinds,
    "cluster": topologies.cluster,
    "sentinel": topologies.sentinel,
    "rotation": rotation,
    "cardinality": cardinality.cardinality,
}


def main(names: list[str]) -> int:
    """Run these, or all; return 1 when one shows a fault, 2 when one is not known."""
    if "--list" in names:
        for name, soak in SOAKS.items():
            print(f"{name:16} {(soak.__doc__ or '').splitlines()[0]}")
        return 0
    if unknown := [name for name in names if name not in SOAKS]:
        print(f"no soak {', '.join(unknown)}; there are: {', '.join(SOAKS)}", file=sys.stderr)
        return 2
    logging.disable()
    bad = 0
    for name in names or SOAKS:
        print(f"== {name}", flush=True)
        began = time.monotonic()
        for result in SOAKS[name]():
            mark, took = "ok " if result.good else "BAD", time.monotonic() - began
            print(f"{mark} {took:6.1f} s  {result.what} ({result.size}): {result.outcome}", flush=True)
            bad += not result.good
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
