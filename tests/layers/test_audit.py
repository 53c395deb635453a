"""Who did what, to what, with what outcome: written down, or not done."""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from forecourt import Audit, AuditMiddleware, ConfigError, EndpointPolicy, JobConfig, Principal, Security
from forecourt import audit as trails
from forecourt.cli import main
from forecourt.core.audit import faults
from forecourt.policies.keys import key_ring
from forecourt.testing import FakeClock
from forecourt.types import Scope
from tests.asgi import Answer, call, http
from tests.callers import Caller, settle_down
from tests.services import starlette

KEY = b"planted-key-of-thirty-two-bytes!!"


class Kept:
    """A sink that a test may break, stall and read."""

    def __init__(self) -> None:
        self.records: list[dict[str, object]] = []
        self.batches: list[int] = []
        self.broken = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def keep(self, lines: Sequence[bytes]) -> None:
        """Keep, fail or wait."""
        await self.go_on.wait()
        if self.broken:
            raise OSError("disk full")
        self.batches.append(len(lines))
        self.records += [json.loads(line) for line in lines]

    def of(self, event: str) -> list[dict[str, object]]:
        """Return the records of one kind."""
        return [record for record in self.records if record["event"] == event]


def wrong(lines: list[bytes]) -> list[str]:
    """Return what is wrong with a trail."""
    ring = key_ring([KEY])
    assert ring is not None
    verifies = lambda key, mac, signed: ring.verify(trails.PURPOSE, key, mac, signed)  # noqa: E731
    return [fault.said for fault in faults(lines, verifies)]


class Caller1:
    """Believes the header `x-caller`, for tests."""

    challenge = "Header"

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return the caller of that name."""
        name = dict(scope["headers"]).get(b"x-caller")
        return Principal("https://issuer", name.decode()) if name else None


class Audited:
    """An endpoint `/records/{record_id}` that is written down, on a clock that stands still."""

    def __init__(self, audit: Audit | None = None, log: object = None) -> None:
        self.kept = Kept()
        self.clock = FakeClock()
        self.runs = 0
        self.fails = False
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.config = JobConfig(
            default=EndpointPolicy(audit=audit or Audit(), security=Security(anonymous=True)),
            authenticators={"header": Caller1()},
            keys=[KEY],
            audit_log=self.kept if log is None else log,
        )
        route = Route("/records/{record_id}", self._change, methods=["GET", "PUT"], name="change_record")
        self.app = starlette(self.config, route, clock=self.clock)

    async def call(self, *fields: tuple[bytes, bytes], path: str = "/records/42") -> Answer:
        """Make a call."""
        return await call(self.app, http(path, "PUT", headers=fields))

    async def _change(self, _: Request) -> Response:
        self.runs += 1
        await self.go_on.wait()
        if self.fails:
            raise RuntimeError("planted-in-the-exception")
        return PlainTextResponse("done", 201)


async def test_a_call_is_written_down_before_and_after() -> None:
    """Who, what, to which resource; then how it ended. Nothing of headers is written."""
    service = Audited()
    assert (await service.call((b"x-caller", b"alice"), (b"x-token", b"planted"))).status == 201
    (begun,), (ended,) = service.kept.of("begun"), service.kept.of("ended")
    named = {name: begun[name] for name in ("endpoint", "action", "method", "resource", "principal", "client")}
    assert named == {
        "endpoint": "change_record",
        "action": "change_record",
        "method": "PUT",
        "resource": {"record_id": "42"},
        "principal": {"issuer": "https://issuer", "subject": "alice"},
        "client": "192.0.2.1",
    }
    assert (ended["id"], ended["status"], ended["outcome"]) == (begun["id"], 201, "ok")
    assert "planted" not in json.dumps(service.kept.records)


async def test_words_of_the_operators_own() -> None:
    """An action, and a resource by its path parameters; one that a path does not have stays as it is spelt."""
    service = Audited(Audit(action="update", resource="record:{record_id}"))
    await service.call(path="/records/" + "9" * 500)
    (begun,) = service.kept.of("begun")
    assert (begun["action"], begun["resource"], begun["principal"]) == ("update", "record:" + "9" * 200, None)
    other = Audited(Audit(resource="{nobody}"))
    await other.call()
    assert other.kept.of("begun")[0]["resource"] == "{nobody}"


async def test_what_cannot_be_written_down_is_not_done() -> None:
    """503, and the handler does not run; it goes on by itself when the sink does, in a new chain."""
    service = Audited()
    service.kept.broken = True
    answer = await service.call()
    assert (answer.status, answer.headers["retry-after"], service.runs) == (503, "1", 0)
    assert b"audit-unavailable" in answer.body
    service.kept.broken = False
    assert (await service.call()).status == 201
    assert [record["event"] for record in service.kept.records] == ["opened", "begun", "ended"]


async def test_what_need_not_be_written_down_is_done(caplog: pytest.LogCaptureFixture) -> None:
    """With an error in the log."""
    service = Audited(Audit(required=False))
    service.kept.broken = True
    assert (await service.call()).status == 201
    assert "the audit trail could not be written" in caplog.text


async def test_a_sink_that_hangs_is_a_sink_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its patience, the caller is told 503."""
    monkeypatch.setattr(trails, "PATIENCE", 0.01)
    service = Audited()
    service.kept.go_on.clear()
    assert (await service.call()).status == 503


async def test_an_end_that_cannot_be_kept_is_logged_and_answered_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The work was done; the trail's chain ends without its end, which a check tells."""
    service = Audited()
    service.go_on.clear()
    caller = Caller(service.app, http("/records/1"))
    await settle_down()
    service.kept.broken = True
    service.go_on.set()
    assert (await caller.end()).status == 201
    assert "the audit trail could not be written" in caplog.text


@pytest.mark.parametrize("how", ["fails", "cancelled"])
async def test_other_ends_are_written_down_too(how: str) -> None:
    """An exception, without its text; a cancellation."""
    service = Audited()
    service.fails = how == "fails"
    if how == "cancelled":
        service.go_on.clear()
        caller = Caller(service.app, http("/records/1"))
        await settle_down()
        await caller.cancel()
    else:
        with pytest.raises(RuntimeError):
            await service.call()
    (ended,) = service.kept.of("ended")
    assert ended["outcome"] == ("cancelled" if how == "cancelled" else "failed")
    assert "planted" not in json.dumps(service.kept.records)


async def test_many_are_written_together() -> None:
    """A thousand at once wait for few writes, each after its own."""
    service = Audited()
    answers = await asyncio.gather(*(service.call() for _ in range(1000)))
    assert {answer.status for answer in answers} == {201}
    assert len(service.kept.of("begun")) == len(service.kept.of("ended")) == 1000
    assert len(service.kept.batches) < 50


async def test_a_caller_who_gives_up_leaves_its_record() -> None:
    """What waits to be written is written, also where nobody waits for it any more."""
    service = Audited()
    service.kept.go_on.clear()
    caller = Caller(service.app, http("/records/1"))
    await settle_down()
    await caller.cancel()
    service.kept.go_on.set()
    await settle_down()
    assert len(service.kept.of("begun")) == 1
    assert service.runs == 0


def test_a_file_holds_a_trail_that_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From start to end of the service; changed, the command says where, and what is not there it says too."""
    monkeypatch.setenv("AUDIT_KEY", KEY.decode())
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        with TestClient(Audited(log=str(path)).app) as client:
            for number in range(5):
                assert client.get(f"/records/{number}").status_code == 201
    command = ["audit", "verify", str(path), "--key", "env:AUDIT_KEY"]
    assert main(command) == 0
    assert capsys.readouterr().out == "24 records, nothing wrong\n"
    with path.open() as trail:
        monkeypatch.setattr("sys.stdin", trail)
        assert main(["audit", "verify", "-", "--key", "env:AUDIT_KEY"]) == 0
    assert capsys.readouterr().out == "24 records, nothing wrong\n"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes().replace(b'"record_id":"3"', b'"record_id":"4"', 1))
    assert main(command) == 1
    assert f"{path}:8: was changed, or is of another key" in capsys.readouterr().out
    assert main(["audit", "verify", str(tmp_path / "none"), "--key", "env:AUDIT_KEY"]) == 2
    assert main([*command[:-1], "planted"]) == 2
    assert "planted" not in capsys.readouterr().err


class Closing(Kept):
    """A sink that is told when it is over."""

    closed = 0

    async def close(self) -> None:
        """Count."""
        self.closed += 1


class Minding(Kept):
    """A sink whose `close` is its own business."""

    def close(self) -> None:
        """Never be called."""
        raise AssertionError


def test_a_sink_is_closed_after_its_last_line() -> None:
    """Once, where it has an async `close`; whatever else is called so is left alone."""
    closing, minding = Closing(), Minding()
    for sink in (closing, minding):
        with TestClient(Audited(log=sink).app) as client:
            client.get("/records/1")
        assert [record["event"] for record in sink.records] == ["opened", "begun", "ended", "closed"]
    assert closing.closed == 1


async def test_a_full_disk_is_a_failure(tmp_path: Path) -> None:
    """A file that cannot be opened refuses what must be written down."""
    service = Audited(log=tmp_path / "no such folder" / "audit.jsonl")
    assert (await service.call()).status == 503


async def test_a_write_that_was_cut_short_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk took only a part."""
    monkeypatch.setattr("os.write", lambda _, text: len(text) - 1)
    with pytest.raises(OSError, match="only a part"):
        await trails.FileSink(tmp_path / "audit.jsonl").keep([b"line"])


async def test_without_a_place_it_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The standard library's logger `forecourt.audit`, at info."""
    caplog.set_level(logging.INFO, "forecourt.audit")
    config = JobConfig(default=EndpointPolicy(audit=Audit()), keys=[KEY])

    async def text(_: Request) -> Response:
        return PlainTextResponse("done")

    app = starlette(config, Route("/", text, name="text"))
    assert (await call(app, http("/"))).status == 200
    events = [json.loads(each.getMessage())["event"] for each in caplog.records if each.name == "forecourt.audit"]
    assert events == ["opened", "begun", "ended"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"default": {"audit": {}}}, 'default.audit: its records are signed: say keys=["env:NAME"]'),
        ({"endpoints": {"x": {"audit": {}}}}, 'endpoints."x".audit: its records are signed'),
        ({"default": {"audit": {"resource": "record:{0}"}}}, "a placeholder is the name of a path parameter"),
        ({"default": {"audit": {"resource": "record:{"}}}, "a placeholder is the name of a path parameter"),
        ({"default": {}, "audit_log": ""}, "audit_log:"),
        ({"default": {}, "audit_log": 7}, "must be the path of a file, or in Python an object with"),
    ],
)
def test_wrong_audits_stop_the_start(fields: dict[str, object], message: str) -> None:
    """With the field's name and the fix."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(**fields)  # type: ignore[arg-type]  # as in a file
    assert message in str(caught.value)


def test_it_is_a_middleware_of_its_own() -> None:
    """The stack with that one layer."""
    assert AuditMiddleware.installs == ("audit",)
