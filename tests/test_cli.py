"""The command: what a config does to an app."""

import subprocess
import sys
from pathlib import Path

import pytest

from forecourt.cli import main
from forecourt.config_spelling import spelt_value

APP = """
from fastapi import FastAPI, WebSocket
from starlette.middleware.cors import CORSMiddleware
from forecourt import JobConfig, PolicyMiddleware
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
config = JobConfig(
    endpoints={endpoints!r},
    default={default!r},
)
app.add_middleware(PolicyMiddleware, config=config)
{more}
@app.get("/records/{{record_id}}")
async def get_record(record_id: int) -> int: return record_id
@app.websocket("/echo")
async def echo(socket: WebSocket) -> None: ...
plain = FastAPI()
text = "no app"
"""

LIMIT = {"rate_limit": {"type": "token_bucket", "max_tokens": 5, "refill_rate": 1}}
MESSAGES = {"rate_limit": {"type": "fixed_window", "limit": 5, "window": 1, "count": "message"}}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the name of an importable module with an app; a test may give (endpoints, default, more lines)."""
    endpoints, default, more = getattr(request, "param", ({"get_record": LIMIT}, MESSAGES, ""))
    name = f"service_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP.format(endpoints=endpoints, default=default, more=more))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def test_check_says_that_all_is_well(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, and how many endpoints were looked at."""
    assert main(["check", f"{module}:app"]) == 0
    assert capsys.readouterr().out == "2 endpoints, no problems.\n"


def test_strict_also_says_what_is_weak(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a flood guard unknown paths are counted by no one: exit 1."""
    assert main(["check", "--strict", f"{module}:app"]) == 1
    assert capsys.readouterr().out.startswith("flood_guard is off")


@pytest.mark.parametrize("module", [({"get_recrod": LIMIT}, None, "")], indirect=True)
def test_check_says_what_would_stop_the_start(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each: the misspelt endpoint with the nearest name, and the endpoints that no one names."""
    assert main(["check", f"{module}:app"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "get_recrod" in lines[0]
    assert "get_record" in lines[0]


def test_show_says_where_each_policy_came_from(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A table: endpoint, methods, path, policy, source; what an endpoint cannot have is said to be skipped."""
    assert main(["show", f"{module}:app"]) == 0
    head, record, socket = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert head[0] == "ENDPOINT"
    assert [cell.strip() for cell in record if cell] == [
        "get_record",
        "GET",
        "/records/{record_id}",
        "rate_limit = TokenBucket(max_tokens=5, refill_rate=1)",
        'endpoint "get_record"',
    ]
    assert [cell.strip() for cell in socket if cell][-1] == "default"


@pytest.mark.parametrize("module", [({}, MESSAGES, "")], indirect=True)
def test_show_says_what_is_skipped(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A default that counts messages does not apply to a plain route, and the table says why."""
    assert main(["show", f"{module}:app"]) == 0
    assert 'skipped: rate_limit of default: fixed_window counts "message"' in capsys.readouterr().out


@pytest.mark.parametrize("module", [({"echo": {"rate_limit": "off"}}, None, "")], indirect=True)
def test_show_says_what_is_off_and_what_no_one_names(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Off is said to be off; an endpoint without any policy is said to have none."""
    assert main(["show", f"{module}:app"]) == 0
    out = capsys.readouterr().out
    assert "nothing: named by no one" in out
    assert out.splitlines()[-1].split()[-1] == "off"


CORS_INSIDE: tuple[object, ...] = (
    {},
    LIMIT,
    "app.user_middleware.append(__import__('starlette.middleware').middleware.Middleware(CORSMiddleware))",
)


@pytest.mark.parametrize("module", [CORS_INSIDE], indirect=True)
@pytest.mark.parametrize("command", ["check", "show"])
def test_cors_inside_the_stack_is_pointed_out(module: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Browsers could not read our refusals: a hint says what to do."""
    assert main([command, f"{module}:app"]) == 0
    assert "hint: CORSMiddleware stands inside PolicyMiddleware" in capsys.readouterr().out


@pytest.mark.parametrize("module", [({}, LIMIT, "app.add_middleware(CORSMiddleware)")], indirect=True)
def test_cors_outside_the_stack_is_right(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """CORSMiddleware added last stands outside, where it belongs."""
    assert main(["check", f"{module}:app"]) == 0
    assert "hint" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("{module}", "names no app: say module:app"),
        ("nowhere:app", "there is no module 'nowhere'"),
        ("{module}:ap", "has no app called 'ap'"),
        ("{module}:text", "has no app called 'text'"),
        ("{module}:plain", "the app has no PolicyMiddleware"),
    ],
)
def test_an_app_that_cannot_be_looked_at(
    module: str, target: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and one line on standard error that says what to give instead."""
    assert main(["check", target.format(module=module)]) == 2
    assert says in capsys.readouterr().err


def test_a_wrapped_app_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An app that is no Starlette app, wrapped by hand, shows the endpoints of its patterns."""
    name = f"bare_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(
        "from forecourt import *\n"
        "async def bare(scope, receive, send): ...\n"
        "config = JobConfig(default=EndpointPolicy(), routes={'x': '/x'})\n"
        "app = PolicyMiddleware(bare, config)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["show", f"{name}:app"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ENDPOINT", "x"]


WRONG_ORDER: tuple[object, ...] = (
    {},
    LIMIT,
    (
        "app.user_middleware.clear()\n"
        "app.add_middleware(PolicyMiddleware, config=config, layers=['errors'])\n"
        "app.add_middleware(PolicyMiddleware, config=config, layers=['rate_limit'])"
    ),
)


@pytest.mark.parametrize("module", [WRONG_ORDER], indirect=True)
def test_layers_in_the_wrong_order_are_named(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` says which stands inside which, as the start would; `show` still shows what there is."""
    assert main(["check", f"{module}:app"]) == 1
    assert "'errors' stands inside 'rate_limit'" in capsys.readouterr().out
    assert main(["show", f"{module}:app"]) == 0
    assert "TokenBucket(max_tokens=5, refill_rate=1)" in capsys.readouterr().out


ONE_LAYER: tuple[object, ...] = (
    {},
    LIMIT,
    (
        "from forecourt import RateLimitMiddleware\n"
        "app.user_middleware.clear()\n"
        "app.add_middleware(CORSMiddleware)\n"
        "app.add_middleware(RateLimitMiddleware, config=config)"
    ),
)


@pytest.mark.parametrize("module", [ONE_LAYER], indirect=True)
def test_one_layer_alone_is_checked_like_the_stack(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its endpoints and policies are looked at through CORSMiddleware, and CORS inside of it is pointed out."""
    assert main(["check", f"{module}:app"]) == 0
    out = capsys.readouterr().out
    assert "2 endpoints, no problems." in out
    assert "hint: CORSMiddleware stands inside" in out


def test_the_module_is_a_command_too() -> None:
    """`python -m forecourt.cli` ends with the command's exit code."""
    command = [sys.executable, "-m", "forecourt.cli", "check", "nowhere:app"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no module 'nowhere'" in done.stderr


def test_a_policy_that_is_no_model_is_spelt_as_python_writes_it() -> None:
    """Sets and numbers stand in a table as they stand in a config."""
    assert spelt_value({"a"}) == "{'a'}"


ISSUED = """
issuers = [{"issuer": "https://issuer.example", "audience": "a", ISSUED}]
for each in (app,):
    each.user_middleware.clear()
    config = JobConfig(endpoints={}, default={"security": {}}, issuers=issuers)
    each.add_middleware(PolicyMiddleware, config=config)
"""


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (({}, {}, ISSUED.replace("ISSUED", keys)), line)
        for keys, line in (
            ('"secret": "short"', "issuers[0].secret: this key cannot be used with HS256: it is shorter than 32 bytes"),
            ('"keys": "file:/nowhere.pem"', 'issuers[0].keys[0]: "/nowhere.pem" cannot be read: FileNotFoundError'),
            ('"keys": {"kty": "oct", "k": "' + "A" * 60 + '"}', "issuers[0].keys[0]: this key cannot be used with"),
        )
    ],
    indirect=["module"],
)
def test_check_says_which_keys_are_of_no_use(module: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Too weak, unreadable, or of another kind than the algorithms."""
    assert main(["check", f"{module}:app"]) == 1
    assert line in capsys.readouterr().out
