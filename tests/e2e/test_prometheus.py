"""A real Prometheus scrapes the observability example: every panel, rule and alert finds what it asks for."""

import shutil
import time
from itertools import chain, repeat

import httpx
import pytest

from benchmarks.load.prometheus import check, queries, scraping, watched
from benchmarks.valkey import running

pytestmark = pytest.mark.slow

PATHS = ("/quotes/a", "/records/7", "/nowhere", "/flaky")


def test_every_panel_shows_something() -> None:
    """A few seconds of calls, of which some are refused, break, become jobs or open the breaker, fill the dashboard."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed: it is in Debian's package `prometheus`")
    late = time.monotonic() + 60
    with running() as server, watched(server.url) as address, scraping(address) as prometheus:
        with httpx.Client(base_url=address, trust_env=False) as client:
            while True:
                for path in chain.from_iterable(repeat(PATHS, 3)):
                    client.get(path)
                for path in ("/digests", "/reports"):
                    client.post(path)
                missing = [each for each in check(prometheus, 30) if not each.passed]
                if not missing or time.monotonic() > late:
                    break
                time.sleep(0.5)
        assert missing == []
        assert len(queries()) >= 28
        assert prometheus.values("forecourt_no_such_metric") == []
