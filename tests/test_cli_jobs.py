"""The command `forecourt jobs`, on each kind of queue that it can reach: a real server, a file, a real broker."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forecourt import ConfigError, JobConfig, Jobs
from forecourt.cli import main
from forecourt.core.webhooks import secrets_for
from forecourt.jobs.queue import Claimed, Ending, NewJob, Queue
from forecourt.jobs.queues import JobQueues
from forecourt.jobs.results import JobResult
from forecourt.policies import Webhooks
from forecourt.principals import digest
from forecourt.types import SECOND, SystemClock
from tests.brokers import Pulsar
from tests.jobs.receivers import SECRET, SPELT
from tests.servers import Valkey

Say = Callable[..., str]


def job(name: str, attempts: int = 1) -> NewJob:
    """Build a job that may be claimed at once."""
    times = (10 * SECOND, 0, 1000 * SECOND, 500 * SECOND, 100)
    return NewJob(name, "ali", "work", "", b"envelope", attempts, *times)


@pytest.fixture(params=["valkey", "sqlite", "pulsar"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where the jobs are."""
    return str(request.param)


@pytest.fixture
def config(
    kind: str, tmp_path: Path, valkey: Valkey, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Write a config that names the queue; put a dead, a running, a succeeded and two queued jobs there."""
    monkeypatch.setenv("HOOKS", SPELT)
    path = tmp_path / "policies.toml"
    address = valkey.url
    if kind == "sqlite":
        address = f"sqlite:///{tmp_path}/jobs.db"
    if kind == "pulsar":
        broker: Pulsar = request.getfixturevalue("pulsar_broker")
        address = broker.url
    path.write_text(
        f'store = "{valkey.url}"\nnamespace = "n{os.urandom(4).hex()}"\nwebhooks = {{ secrets = ["env:HOOKS"] }}\n'
        f'[queues]\ndefault = "{address}"\n'
    )
    asyncio.run(_filled(path))
    return path


async def _claimed(queue: Queue) -> Claimed:
    """Claim the next job; a broker may take a moment to give it."""
    async with asyncio.timeout(10):
        while not (found := await queue.claim(1)):
            await asyncio.sleep(0.002)
    return found[0]


async def _filled(path: Path) -> None:
    queue = JobQueues(JobConfig.from_file(path), SystemClock()).queue("default")
    await queue.open()
    for name, ending in (
        ("default.dead", Ending("failed", JobResult(500, (), b"oh").stored(), "it failed")),
        ("default.done", Ending("done", JobResult(200, (), b"result").stored())),
    ):
        await queue.publish(job(name))
        claimed = await _claimed(queue)
        await queue.finish(name, claimed.token, ending)
    for name in ("default.running", "default.first", "default.second"):
        await queue.publish(job(name))
        if name == "default.running":
            await _claimed(queue)
    await queue.close()


@pytest.fixture
def say(config: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what runs an act and returns its output."""

    def said(*words: str) -> str:
        assert main(["jobs", words[0], "--config", str(config), *words[1:]]) == 0
        return capsys.readouterr().out

    return said


def test_jobs_are_listed(say: Say, kind: str) -> None:
    """How many there are, and those that are running, queued and dead; or one sort, or so many.

    Those that are queued stand as in their lines; in a file the latest is the first.
    """
    queued = [["queued", "default.first"], ["queued", "default.second"]]
    first, *lines = say("list").splitlines()
    assert first == "default: 2 waiting, 0 delayed, 1 running, 1 dead"
    assert [line.split()[2:5:2] for line in lines] == [
        ["running", "default.running"],
        *(queued[::-1] if kind == "sqlite" else queued),
        ["dead", "default.dead"],
    ]
    assert len(say("list", "--status", "dead").splitlines()) == 2
    assert len(say("list", "--count", "2").splitlines()) == 3


def test_one_job_is_shown(say: Say) -> None:
    """How it stands and why, and what was answered, without its body."""
    shown = dict(line.split(": ", 1) for line in say("show", "default.dead").splitlines())
    assert (shown["status"], shown["reason"], shown["answer"]) == ("dead", "it failed", "500, 2 bytes")
    assert "reason" not in say("show", "default.done")
    assert "answer" not in say("show", "default.first")


def test_jobs_are_cancelled(say: Say) -> None:
    """What has not ended does; what has stays as it is."""
    lines = say("cancel", "default.first", "default.done", "default.none").splitlines()
    assert lines == ["default.first  is cancelled", "default.done  is succeeded", "default.none  is not there"]
    assert say("cancel") == "no job was named\n"


def test_dead_jobs_are_tried_again(say: Say) -> None:
    """By name, or all of a queue; only what is dead."""
    assert "default.dead" in say("dead")
    assert say("retry", "default.dead", "default.done").splitlines() == [
        "default.dead  is queued",
        "default.done  is not dead",
    ]
    assert say("dead") == "none is dead\n"
    assert say("retry", "--all", "default") == "no job was named, or none is dead\n"


def test_all_dead_jobs_are_tried_again(say: Say) -> None:
    """Redriven one by one, under their own ids."""
    assert say("retry", "--all", "default") == "default.dead  is queued\n"


def test_a_callers_secret_is_told(say: Say) -> None:
    """What signs their webhooks, spelt as receivers are given it."""
    (expected,) = secrets_for(digest("principal", "https://issuer", "ali"), [SECRET])
    assert say("secret", "principal", "https://issuer", "ali") == Webhooks.spelt([expected])[0] + "\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "nothing"], "is no job"),
        (["show", "default.none"], "there is no job default.none"),
        (["show", "msg_abc.1"], "there is no job msg_abc.1"),
        (["list", "--count", "0"], "--count must be at least 1"),
    ],
)
def test_what_cannot_be_is_said(config: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line on standard error."""
    assert main(["jobs", words[0], "--config", str(config), *words[1:]]) == 2
    assert says in capsys.readouterr().err


def test_jobs_in_memory_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The memory of another process is not this command's to read."""
    monkeypatch.delenv("FORECOURT_CONFIG", raising=False)
    assert main(["jobs", "list"]) == 2
    assert "in memory" in capsys.readouterr().err


async def test_a_queue_without_lists_says_so() -> None:
    """And without webhooks there are no secrets."""
    jobs = Jobs(JobConfig(store="redis://localhost"))
    jobs._open["default"] = object()  # type: ignore[assignment]  # a queue of another kind
    with pytest.raises(ConfigError, match="keeps no list"):
        await jobs.list("default")
    with pytest.raises(ConfigError, match="webhooks"):
        jobs.secret("client", "192.0.2.7")
