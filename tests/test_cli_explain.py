"""The command `forecourt explain`: what would be decided of a call, with nothing consumed."""

import asyncio
import importlib
import io
import json
import sys
from pathlib import Path
from typing import cast

import pytest

from forecourt import Accounts, Ledger, Quota, explanation
from forecourt.cli import main
from forecourt.explanation import ReadingStore
from forecourt.principals import Keys
from forecourt.stores.contract import Question, Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.stores.opening import store_at
from forecourt.testing import FakeIssuer
from forecourt.types import ASGIApp, Message, Receive, Scope, Send, SystemClock
from tests.servers import Valkey, free_port

APP = """
from fastapi import FastAPI, WebSocket
from forecourt import *
from forecourt.testing import FakeIssuer
fake = FakeIssuer()
LIMIT = FixedWindow(limit=3, window=3600, name="hourly")
config = JobConfig(
    store={store!r},
    endpoints={{
        "get_record": EndpointPolicy(
            security=Security(scopes={{"read"}}), rate_limit=LIMIT, credits=Credits(amount=7), cache=Cache(ttl=60)
        ),
        "inside": EndpointPolicy(clients=ClientNetworks(allow={{"10.0.0.0/8"}})),
        "uploaded": EndpointPolicy(content=Content(accepts={{"application/json"}}), max_body=10),
        "slow": EndpointPolicy(rate_limit=[Debounce(interval=5, edge="trailing"), LIMIT]),
        "plain": EndpointPolicy(),
        "echo": EndpointPolicy(security=Security()),
    }},
    issuers=[fake.policy],
    revocation={revocation},
    accounts=Accounts(quota=Quota(amount=10)),
    flood_guard={flood_guard},
)
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(PolicyMiddleware, config=config)
@app.get("/records/{{record_id}}")
async def get_record(record_id: int) -> int: return record_id
@app.get("/inside")
async def inside() -> int: return 1
@app.post("/uploaded")
async def uploaded() -> int: return 1
@app.get("/slow")
async def slow() -> int: return 1
@app.get("/plain")
async def plain() -> int: return 1
@app.get("/forgotten")
async def forgotten() -> int: return 1
@app.websocket("/echo")
async def echo(socket: WebSocket) -> None: ...
"""

Json = dict[str, object]


class Service:
    """An app in a module, and how it is explained."""

    def __init__(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.name = name
        self._capsys = capsys

    def token(self, *scopes: str) -> str:
        """Return a token of the app's own issuer."""
        fake = importlib.import_module(self.name).fake
        assert isinstance(fake, FakeIssuer)
        return fake.token("alice", scopes=scopes)

    def says(self, *arguments: str, exits: int = 0) -> str:
        """Return what is printed."""
        assert main(["explain", f"{self.name}:app", *arguments]) == exits
        captured = self._capsys.readouterr()
        return captured.out if exits == 0 else captured.err

    def json(self, *arguments: str) -> Json:
        """Return the JSON that is printed."""
        return cast("Json", json.loads(self.says(*arguments, "--json")))

    def verdicts(self, *arguments: str) -> list[tuple[object, object]]:
        """Return (layer, verdict) of each layer, outermost first."""
        return [(each["layer"], each["verdict"]) for each in cast("list[Json]", self.json(*arguments)["verdicts"])]


@pytest.fixture
def service(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Service:
    """Return a service; a test may give its store, and "guarded" for what asks the store about callers."""
    store, guarded = getattr(request, "param", ("memory://", ""))
    if store == "valkey":
        store = cast("Valkey", request.getfixturevalue("valkey")).url
    if store == "dead":
        store = f"redis://127.0.0.1:{free_port()}"
    name = f"explained_{abs(hash(tmp_path))}"
    guard = "FloodGuard(limit=9, window=9)" if guarded else None
    (tmp_path / f"{name}.py").write_text(APP.format(store=store, revocation=bool(guarded), flood_guard=guard))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv("FORECOURT_TOKEN", raising=False)
    return Service(name, capsys)


def test_a_call_without_credentials_is_refused_where_it_would_be(service: Service) -> None:
    """The endpoint, each policy and its source, the 401, and what stands below it unreached."""
    text = service.says("GET", "/records/1")
    assert "endpoint  get_record  /records/{record_id}  (record_id='1')" in text
    assert "policy    security = Security(scopes={'read'})  (endpoint \"get_record\")" in text
    assert "refuses     security: Unauthorized: This endpoint must know who is calling; nothing was done. (Be" in text
    assert "not reached rate_limit" in text
    assert text.splitlines()[-1] == "=> would be refused with 401 by security"


def test_a_token_comes_from_the_environment_and_is_never_shown(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is known, every layer says what it would do, and the token stands nowhere."""
    token = service.token("read")
    monkeypatch.setenv("FORECOURT_TOKEN", token)
    found = service.json("GET", "/records/1?full=yes")
    assert str(found["caller"]).startswith("alice of ")
    assert found["params"] == {"record_id": "1"}
    assert found["refused"] is None
    assert service.verdicts("GET", "/records/1") == [
        ("security", "passes"),
        ("rate_limit", "passes"),
        ("credits", "passes"),
        ("cache", "unknown"),
    ]
    text = service.says("GET", "/records/1")
    assert "costs 7 of 10 credits" in text
    assert "unless cache has a word" in text
    assert token not in text


def test_a_token_comes_from_standard_input(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token without the scope is forbidden, and the challenge says which scope."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(service.token("write") + "\n"))
    found = service.json("GET", "/records/1", "--token-stdin")
    assert found["refused"] == {"status": 403, "layer": "security"}
    assert "insufficient_scope" in json.dumps(found["verdicts"])


@pytest.mark.parametrize("service", [("valkey", "guarded")], indirect=True)
def test_nothing_is_consumed_on_a_real_store(service: Service, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked, three calls are left, and the store holds no limit; revocations are asked for."""
    monkeypatch.setenv("FORECOURT_TOKEN", service.token("read"))
    for _ in range(5):
        text = service.says("GET", "/records/1")
        assert "hourly: 3 of 3 left" in text
        assert "costs 7 of 10 credits" in text
        assert "unknown     flood_guard: each process counts for itself" in text
    assert b":fw1:" not in repr(valkey.ask("KEYS", "*")).encode()


@pytest.mark.parametrize("service", [("dead", "")], indirect=True)
def test_a_dead_store_leaves_it_unknown(service: Service) -> None:
    """Who may call is still decided; the limits are not, and it is said why."""
    found = service.verdicts("GET", "/slow")
    assert found == [("rate_limit", "unknown")]


@pytest.mark.parametrize("service", [("valkey", "")], indirect=True)
def test_a_spent_account_and_a_spent_limit_refuse(
    service: Service, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store holds decides: 402 with what is left, 429 with when there is more."""
    alice = ("principal", "https://issuer.example", "alice")
    monkeypatch.setenv("FORECOURT_TOKEN", service.token("read"))
    asyncio.run(spend_credits(valkey.url, alice))
    assert service.json("GET", "/records/1")["refused"] == {"status": 402, "layer": "credits"}
    assert "costs 7 of -4 credits" in service.says("GET", "/records/1")
    state = "return redis.call('SET', KEYS[1], struct.pack('<dd', redis.call('TIME')[1] * 1e6 + 3599e6, 3))"
    valkey.ask("EVAL", state, "1", Keys("fc").key("fw1", "@hourly", *alice))
    assert service.json("GET", "/records/1")["refused"] == {"status": 429, "layer": "rate_limit"}
    assert "hourly: 0 of 3 left, one more in 359" in service.says("GET", "/records/1")


async def spend_credits(url: str, account: tuple[str, ...]) -> None:
    """Leave an account in debt."""
    store = store_at(url, SystemClock())
    await store.open()
    await Ledger(store, accounts=Accounts(quota=Quota(amount=10))).grant(account, -4)
    await store.close()


def test_where_the_call_comes_from_and_what_it_carries_count(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """--client and --header are the call's own; a header may come from the environment."""
    assert service.verdicts("GET", "/inside") == [("clients", "refuses")]
    assert service.verdicts("GET", "/inside", "--client", "10.1.2.3") == [("clients", "passes")]
    monkeypatch.setenv("KIND", "text/plain")
    refused = service.verdicts("POST", "/uploaded", "--header", "Content-Type: env:KIND")
    assert refused == [("max_body", "unknown"), ("content", "refuses")]
    assert service.verdicts("POST", "/uploaded", "--header", "Content-Type: application/json")[-1][1] == "passes"


def test_a_layer_that_reads_meets_a_caller_who_left(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no call whose body could come: whoever waits for one is not kept waiting."""
    read: list[Message] = []

    class Reads:
        def __init__(self, app: ASGIApp, **_: object) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            read.append(await receive())
            await self.app(scope, receive, send)

    asked = {**explanation._ASKED_OF_THEMSELVES, "clients": Reads}
    monkeypatch.setattr(explanation, "_ASKED_OF_THEMSELVES", asked)
    assert service.verdicts("GET", "/inside") == [("clients", "passes")]
    assert read == [{"type": "http.disconnect"}]


def test_a_handshake_is_explained_too(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEBSOCKET stands in the place of the method."""
    assert service.json("WEBSOCKET", "/echo")["refused"] == {"status": 401, "layer": "security"}
    monkeypatch.setenv("FORECOURT_TOKEN", service.token())
    assert service.json("WEBSOCKET", "/echo")["refused"] is None


def test_what_has_no_policy_and_what_has_no_route(service: Service) -> None:
    """An endpoint whose policy is empty goes on; one that no one names is refused; what no route matches is said so."""
    assert service.says("GET", "/plain").splitlines()[-1] == "=> would go on to the handler"
    assert "named by no one" in service.says("GET", "/forgotten")
    assert "=> would be refused with 500" in service.says("GET", "/forgotten")
    assert "no route matches" in service.says("GET", "/nowhere")
    assert service.json("GET", "/nowhere")["endpoint"] is None


def test_limits_of_every_strategy_are_looked_at(service: Service) -> None:
    """A trailing debounce lets every call arrive; beside it the other limit stands."""
    text = service.says("GET", "/slow")
    assert "debounce_trailing: 1 of 1 left; hourly: 3 of 3 left" in text
    assert "each process counts for itself" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["GET", "records/1"], "it begins with a slash"),
        (["GET", "/plain", "--header", "no colon"], "must be NAME:VALUE"),
        (["GET", "/plain", "--header", "X-Key: env:ABSENT_VARIABLE"], "ABSENT_VARIABLE is not set"),
    ],
)
def test_what_cannot_be_asked_is_said(service: Service, arguments: list[str], says: str) -> None:
    """Exit 2 and one line on standard error."""
    assert says in service.says(*arguments, exits=2)


async def test_a_store_that_only_reads_tells_nothing() -> None:
    """What would change anything is answered with a yes and never asked; what reads is asked."""
    kept = MemoryStore(SystemClock())
    await kept.settle([Settlement("revoke", "b", (100, 1_000_000))])
    store = ReadingStore(kept)
    await store.open()
    proof = Question("proof_use", "a", ("one", 1_000_000), "closed")
    first, second = await store.decide([proof, Question("revoked", "b", (50,), "closed")])
    assert (first.verdict, second.verdict) == ("go", "refuse")
    await store.settle([Settlement("revoke", "c", (100, 1_000_000))])
    await store.close()
    (again,) = await kept.decide([proof._replace(args=("two", 1_000_000))])
    (other,) = await kept.decide([Question("revoked", "c", (50,), "closed")])
    assert (again.verdict, other.verdict) == ("go", "go")
