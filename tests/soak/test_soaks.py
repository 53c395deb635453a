"""Short forms of what scripts/soak runs whole: the scenes work, and small crowds see no fault."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.soak import all_kinds, cardinality, faults, over_admission
from tests.soak.results import Result

pytestmark = [pytest.mark.valkey, pytest.mark.slow]


def shown(results: Iterator[Result]) -> int:
    """See that every result is as it must be; return how many there were."""
    told = [*results]
    assert [result for result in told if not result.good] == []
    return len(told)


def test_two_processes_pass_what_may_pass() -> None:
    """Every strategy, a lease and credits, also while the script cache is flushed."""
    assert shown(over_admission.healthy(seconds=0.3, number=2, tasks=50, starting=1)) == 2


def test_a_cluster_passes_what_may_pass() -> None:
    """Every strategy, a lease and credits, in order, through a failover, and while their slot moves."""
    assert shown(all_kinds.on_cluster(seconds=1.5, number=1, tasks=30, starting=1)) == 3


def test_a_thousand_callers_at_once_pass_what_may_pass() -> None:
    """In one turn of one loop."""
    assert shown(over_admission.at_once(1000)) == 7


def test_cut_connections_and_cancelled_callers_leave_nothing() -> None:
    """Neither leases nor holds, once their time is over."""
    assert shown(faults.cut_connections(cuts=20, cancelled=20, ttl=1)) == 1


def test_a_killed_worker_leaves_nothing() -> None:
    """What it held is free within one lease."""
    assert shown(faults.kill_9(rounds=1, workers=1, each=10, ttl=0.8)) == 1


def test_series_do_not_grow_with_callers() -> None:
    """Neither those of prometheus-client nor those of a meter."""
    assert shown(cardinality.cardinality(callers=100)) == 2


def test_soaks_are_listed() -> None:
    """Each with what it is about; an unknown name is refused with those there are."""
    command = [sys.executable, "-m", "tests.soak"]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in listed.splitlines()] == [
        "over-admission",
        "cut-connections",
        "loop-gap",
        "gone-and-back",
        "kill-9",
        "idempotency-kills",
        "transaction-kills",
        "job-kills",
        "cache-marks",
        "cache-guards",
        "stale-reads",
        "cancelled-sessions",
        "all-kinds",
        "cluster",
        "sentinel",
        "rotation",
        "cardinality",
    ]
    unknown = subprocess.run([*command, "nothing"], capture_output=True, text=True, check=False)
    assert (unknown.returncode, "over-admission" in unknown.stderr) == (2, True)
