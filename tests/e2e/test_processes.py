"""Several processes, one store: the limit is the limit."""

import subprocess
import sys
import time

import pytest

from tests.servers import Valkey

pytestmark = pytest.mark.slow


def test_four_processes_pass_ten_of_a_thousand_calls(valkey: Valkey) -> None:
    """1,000 calls at once from 4 processes against a limit of 10: exactly 10 pass, the others are refused with 429."""
    start = str(time.time() + 6)
    command = [sys.executable, "-m", "tests.e2e.flood", valkey.url, "250", start]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    counts = [[int(count) for count in process.communicate(timeout=60)[0].split()] for process in running]
    passed, refused, undecided = (sum(each) for each in zip(*counts, strict=True))
    assert (passed, refused + undecided) == (10, 990)
    assert undecided == 0
