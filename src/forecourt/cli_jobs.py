"""`forecourt jobs`: which jobs there are, how one stands, end it, and have dead ones tried again.

A job is named by its id, as its caller was told; it begins with its queue.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.jobs.operating import Jobs
from forecourt.jobs.queue import LISTED, Record
from forecourt.policies.offload import DEFAULT_QUEUE
from forecourt.types import SECOND

Act = Callable[[Jobs, argparse.Namespace], Awaitable[str]]


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its acts."""
    words = "list, show, cancel and retry jobs"
    acts = commands.add_parser("jobs", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    for name, act, help_ in (
        ("list", _list, "jobs that are running, queued or dead, and how many there are"),
        ("dead", _dead, "jobs with no attempt left, the latest first, and why"),
        ("show", _show, "how one job stands, and what was answered"),
        ("cancel", _cancel, "end jobs that have not ended"),
        ("retry", _retry, "give dead jobs all their attempts again"),
        ("secret", _secret, "the secrets that sign a caller's webhooks"),
    ):
        parser = acts.add_parser(name, help=help_, description=help_)
        parser.add_argument("--config", type=Path, help="the policy file; else what FORECOURT_CONFIG names")
        parser.set_defaults(run=_run, act=act)
        if name in ("list", "dead"):
            parser.add_argument("--queue", default=DEFAULT_QUEUE, metavar="NAME", help="default: default")
            parser.add_argument("--count", type=int, default=100, metavar="N", help="at most so many (100)")
        if name == "list":
            parser.add_argument("--status", choices=LISTED)
        if name in ("show", "cancel", "retry"):
            parser.add_argument("job", nargs=None if name == "show" else "*", metavar="JOB")
        if name == "retry":
            parser.add_argument("--all", metavar="QUEUE", help="every dead job of this queue, 1,000 at most")
        if name == "secret":
            parser.add_argument("caller", nargs="+", metavar="WORD", help="such as: principal https://issuer alice")


def _run(given: argparse.Namespace) -> int:
    if getattr(given, "count", 1) < 1:
        raise ConfigError("--count must be at least 1")
    config = JobConfig.from_file(given.config) if given.config else JobConfig()
    print(asyncio.run(_done(config, given)))  # a command prints
    return 0


async def _done(config: JobConfig, given: argparse.Namespace) -> str:
    act: Act = given.act
    async with Jobs(config) as jobs:
        return await act(jobs, given)


async def _list(jobs: Jobs, given: argparse.Namespace) -> str:
    depth = await jobs.depth(given.queue)
    records = await jobs.list(given.queue, given.status, given.count)
    counts = ", ".join(f"{number} {state}" for state, number in depth.items())
    return "\n".join([f"{given.queue}: {counts}", *_lines(records)])


async def _dead(jobs: Jobs, given: argparse.Namespace) -> str:
    return "\n".join(_lines(await jobs.dead(given.queue, given.count))) or "none is dead"


async def _show(jobs: Jobs, given: argparse.Namespace) -> str:
    record = await jobs.show(given.job)
    if record is None:
        raise ConfigError(f"there is no job {given.job}, or none any more")
    lines = [f"{name}: {value}" for name, value in _shown(record) if value != ""]
    if result := await jobs.result(given.job):
        lines.append(f"answer: {result.status}, {len(result.body)} bytes")
    return "\n".join(lines)


def _shown(record: Record) -> Iterable[tuple[str, object]]:
    yield "job", record.id
    yield "status", record.status
    yield "endpoint", record.endpoint
    yield "attempts", record.attempts
    yield "created", _time(record.created)
    yield "changed", _time(record.changed)
    yield "owner", record.owner
    yield "reason", record.reason
    yield "progress", f"{record.progress:.0%} {record.note}".rstrip() if record.progress >= 0 else ""


async def _cancel(jobs: Jobs, given: argparse.Namespace) -> str:
    return "\n".join([_became(job, await jobs.cancel(job)) for job in given.job]) or "no job was named"


async def _retry(jobs: Jobs, given: argparse.Namespace) -> str:
    named: list[str] = list(given.job)
    if given.all is not None:
        named += [record.id for record in await jobs.dead(given.all, 1000)]
    lines: list[str] = []
    for job in named:
        record = await jobs.retry(job)
        lines.append(_became(job, record) if record else f"{job}  is not dead")
    return "\n".join(lines) or "no job was named, or none is dead"


async def _secret(jobs: Jobs, given: argparse.Namespace) -> str:
    return "\n".join(jobs.secret(*given.caller))


def _became(job: str, record: Record | None) -> str:
    return f"{job}  is {record.status}" if record else f"{job}  is not there"


def _lines(records: Iterable[Record]) -> list[str]:
    return [_line(each).rstrip() for each in records]


def _line(each: Record) -> str:
    return f"{_time(each.created)}  {each.status:<8} {each.attempts:>2}  {each.id}  {each.endpoint}  {each.reason}"


def _time(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant / SECOND, UTC):%Y-%m-%d %H:%M:%S}"
