"""Queues that the API's own process works on: in its memory, and in a file."""

import sys
from pathlib import Path

import pytest

from forecourt import Offload
from forecourt.errors import ConfigError
from forecourt.jobs.queues import ASIDE, queue_at
from forecourt.jobs.sqlite import SqliteQueue
from forecourt.testing import FakeClock
from tests.jobs.queues import job
from tests.jobs.services import Reports
from tests.servers import eventually

KEYS = [b"a secret of the tests, 32 bytes or more"]


def service(path: Path) -> Reports:
    """Build a service whose jobs wait in a file."""
    return Reports(Offload(queue="local"), queues={"local": f"sqlite:///{path}"}, keys=KEYS)


async def test_the_api_works_on_a_queue_in_a_file(tmp_path: Path) -> None:
    """Nothing else need be started."""
    one = service(tmp_path / "jobs.db")
    assert (await one.post()).status == 202
    await eventually(lambda: bool(one.runs))


async def test_a_worker_looks_after_a_file_by_itself(tmp_path: Path) -> None:
    """The app that it starts works on none but those in its memory."""
    token = ASIDE.set(True)
    one = service(tmp_path / "jobs.db")
    assert (await one.post()).status == 202
    ASIDE.reset(token)
    other = SqliteQueue(str(tmp_path / "jobs.db"), "fc local", one.clock)
    await other.open()
    assert len(await other.claim(8)) == 1
    assert one.runs == []
    await other.close()


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    """The file cannot be: the app says so, and can be started again."""
    one = service(tmp_path / "none" / "jobs.db")
    with pytest.raises(ConfigError, match="cannot be used"):
        await one.post()


async def test_each_address_has_its_queue(tmp_path: Path) -> None:
    """Queues of two names in one file are apart."""
    address = f"sqlite:///{tmp_path}/jobs.db"
    one, other = (queue_at(address, "fc", name, FakeClock()) for name in ("one", "other"))
    await one.open()
    await other.open()
    await one.publish(job("a"))
    assert await other.look("a") is None
    await one.close()
    await other.close()


@pytest.mark.parametrize(
    ("missing", "address", "says"),
    [
        ("jobs.pulsar", "pulsar://a", "queues.q: pulsar: needs the Pulsar client: pip install 'forecourt[pulsar]'"),
        ("stores.redis.client", "redis://:q7q@a", "queues: redis: needs the Redis client: pip install {redis}"),
        ("stores.redis.client", "pulsar://a", "queues: valkeys: needs the Redis client: pip install {redis}"),
    ],
)
def test_a_client_that_is_not_installed_is_said_with_what_to_install(
    missing: str, address: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue's own, or that of the store which has its records; nothing of an address but its scheme."""
    monkeypatch.setitem(sys.modules, f"forecourt.{missing}", None)
    with pytest.raises(ConfigError) as caught:
        queue_at(address, "fc", "q", FakeClock(), store="valkeys://u:q7q@b")
    assert str(caught.value) == says.format(redis="'forecourt[redis]'")
