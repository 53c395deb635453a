"""The records example as two services on one database and one store, each a process of its own."""

import time

import httpx2
import pytest

from tests.e2e.service import records
from tests.servers import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.valkey]

WITHIN = 0.05
"""Seconds after which no process serves what was before a commit."""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_write_of_one_process_is_seen_by_the_other(kind: str, valkey: Valkey, request: pytest.FixtureRequest) -> None:
    """Read, read again from the cache, write, and read what was written; a refused write leaves what is kept."""
    place = request.getfixturevalue(kind)
    arguments = ("--store", valkey.url, "--postgres", place if kind == "sqlite" else place.fresh("records"))
    with records(*arguments) as one, records(*arguments) as two:
        for each in (one, two):
            each.headers["host"] = "records.test"  # one name, as behind a balancer: what is kept belongs to a host
        assert [_shown(each) for each in (one, one, two)] == [("second", "miss"), ("second", "hit"), ("second", "hit")]
        assert [each["title"] for each in two.get("/records").json()] == ["first", "second", "third"]
        assert one.put("/records/2", json={"title": ""}).status_code == 422
        assert one.put("/records/9", json={"title": "none"}).status_code == 404
        time.sleep(1)  # for another token
        assert _shown(two) == ("second", "hit")
        assert one.put("/records/2", json={"title": "written"}).status_code == 200
        time.sleep(WITHIN)
        assert two.get("/records").json()[1]["title"] == "written"
        assert _shown(two) == ("written", "miss")
        assert _shown(one) == ("written", "hit")


def _shown(client: httpx2.Client) -> tuple[str, str]:
    """Return the title of a record, and whether it was kept."""
    answer = client.get("/records/2")
    answer.raise_for_status()
    title: str = answer.json()["title"]
    return title, "hit" if "; hit" in answer.headers["cache-status"] else "miss"
