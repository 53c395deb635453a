"""An upstream is ready before its first call: what httpx imports late is no part of that call's time."""

import subprocess
import sys

_COLD = """
import sys
from forecourt import JobConfig, Upstream
from forecourt.types import SystemClock

config = JobConfig(upstreams={"payments": Upstream(base_url="http://127.0.0.1:1")})
assert "httpcore" not in sys.modules
config.upstream("payments")
print("httpcore" in sys.modules, "h11" in sys.modules)
"""


def test_a_first_call_imports_nothing_heavy() -> None:
    """In a process of its own, as this one has long imported it."""
    done = subprocess.run([sys.executable, "-c", _COLD], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["True", "True"], "")
