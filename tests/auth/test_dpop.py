"""Proof of possession (RFC 9449): a bound token counts only with a fresh proof for this very call, and that once."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Concurrency, Dpop, EndpointPolicy, FixedWindow, JobConfig, Security
from forecourt.auth.jose import SigningKey
from forecourt.auth.nonces import Nonces
from forecourt.policies.keys import KeyRing
from forecourt.stores.contract import Store
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeIssuer
from tests.asgi import Answer, http
from tests.auth.service import Guarded, challenges, problem
from tests.callers import Caller, settle_down

NOW = 1_700_000_000


class Holder:
    """A caller with a key of their own and a token that is bound to it."""

    def __init__(self, service: Guarded, algorithm: str = "ES256") -> None:
        self.service = service
        self.key = SigningKey.generate(algorithm)
        self.jwk = {name: value for name, value in self.key.jwk().items() if name not in ("alg", "use")}
        self.token = service.token(cnf={"jkt": self.key.verifying.thumbprint}, exp=NOW + 86_400)
        self.number = 0

    def proof(self, *, header: dict[str, object] | None = None, key: SigningKey | None = None, **claims: object) -> str:
        """Sign a proof for `GET http://test/`; claims that are None are left out."""
        self.number += 1
        said: dict[str, object] = {
            "jti": f"proof-{self.number}",
            "htm": "GET",
            "htu": "http://test/",
            "iat": self.service.clock.now() // 1_000_000,
            "ath": base64.urlsafe_b64encode(hashlib.sha256(self.token.encode()).digest()).rstrip(b"=").decode(),
            **claims,
        }
        told = {name: value for name, value in said.items() if value is not None}
        return (key or self.key).sign(told, {"typ": "dpop+jwt", "jwk": self.jwk, **(header or {})})

    async def show(self, *proofs: str, scheme: str = "DPoP") -> Answer:
        """Call with the token and these proofs."""
        fields = [("authorization", f"{scheme} {self.token}"), *(("dpop", proof) for proof in proofs)]
        return await self.service.showing(fields)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "Ed25519", "ES384"])
async def test_a_bound_token_with_a_proof_counts(algorithm: str) -> None:
    """Whatever public key it is; and again with another proof, though the token was seen before."""
    holder = Holder(Guarded(dpop=Dpop()), algorithm)
    for _ in range(2):
        answer = await holder.show(holder.proof())
        assert answer.status == 200, challenges(answer)
        assert json.loads(answer.body)["subject"] == "alice"


async def test_a_proof_counts_once() -> None:
    """On the same service, also at its last instant; who is refused has consumed nothing of the limits."""
    policy = EndpointPolicy(security=Security(), rate_limit=FixedWindow(limit=3, window=60))
    holder = Holder(Guarded(policy=policy, dpop=Dpop()))
    proof = holder.proof()
    assert (await holder.show(proof)).status == 200
    for wait in (0, 30, 35):
        holder.service.clock.advance(wait)
        answer = await holder.show(proof)
        assert (answer.status, problem(answer)) == (401, "invalid-credentials")
        assert 'error="invalid_dpop_proof"' in challenges(answer)[1]
    assert [(await holder.show(holder.proof())).status for _ in range(2)] == [200, 200]


@pytest.fixture
async def served(valkey: object) -> AsyncIterator[Store]:
    """A store on a real server, open."""
    store = RedisStore(Client(valkey.url, deadline=5))  # type: ignore[attr-defined]  # a server has an address
    await store.open()
    yield store
    await store.close()


@pytest.mark.valkey
async def test_a_proof_counts_once_on_a_server(served: Store) -> None:
    """The same across processes, by the Lua twin."""
    first = Guarded(dpop=Dpop(), store=served)
    second = Guarded(dpop=Dpop(), store=served, issuer=first.issuer)
    holder = Holder(first)
    proof = holder.proof()
    assert (await holder.show(proof)).status == 200
    assert (await holder.show(proof)).status == 401
    holder.service = second
    assert (await holder.show(proof)).status == 401
    assert (await holder.show(holder.proof())).status == 200


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"jti": None}, {}),
        ({"jti": ""}, {}),
        ({"jti": 7}, {}),
        ({"htm": "POST"}, {}),
        ({"htm": None}, {}),
        ({"htu": "https://test/"}, {}),
        ({"htu": "http://test:81/"}, {}),
        ({"htu": "http://other/"}, {}),
        ({"htu": "http://test/other"}, {}),
        ({"htu": "http://user@test/"}, {}),
        ({"htu": "http://test/?a=b"}, {}),
        ({"htu": "http://test:port/"}, {}),
        ({"htu": None}, {}),
        ({"ath": "another"}, {}),
        ({"ath": None}, {}),
        ({"iat": None}, {}),
        ({"iat": "now"}, {}),
        ({"iat": True}, {}),
        ({"iat": NOW - 66}, {}),
        ({"iat": NOW + 6}, {}),
        ({"iat": 1e300}, {}),
        ({}, {"typ": "JWT"}),
        ({}, {"alg": "none"}),
        ({}, {"alg": "HS256"}),
        ({}, {"jwk": None}),
        ({}, {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}),
        ({}, {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}),
    ],
)
async def test_a_proof_of_something_else_is_none(claims: dict[str, object], header: dict[str, object]) -> None:
    """401 invalid_dpop_proof."""
    holder = Holder(Guarded(dpop=Dpop()))
    answer = await holder.show(holder.proof(header=header, **claims))  # type: ignore[arg-type]  # claims, not keys
    assert answer.status == 401
    assert 'error="invalid_dpop_proof"' in challenges(answer)[1]


async def test_whose_proof_it_is() -> None:
    """By another key; with a private key in it; damaged; none; two."""
    holder = Holder(Guarded(dpop=Dpop()))
    other = SigningKey.generate("ES256")
    its_own = {name: value for name, value in other.jwk().items() if name not in ("alg", "use")}
    private = {**holder.jwk, "d": "AAAA"}
    for proofs in (
        [holder.proof(key=other)],
        [holder.proof(key=other, header={"jwk": its_own})],
        [holder.proof(header={"jwk": private})],
        [holder.proof()[:-4]],
        [],
        [holder.proof(), holder.proof()],
    ):
        assert (await holder.show(*proofs)).status == 401


async def test_an_address_is_compared_as_one() -> None:
    """Scheme and host without case, the default port or none; `origin` says how callers address the service."""
    holder = Holder(Guarded(dpop=Dpop()))
    for address in ("HTTP://TEST/", "http://test:80/", "http://test"):
        assert (await holder.show(holder.proof(htu=address))).status == 200, address
    behind = Holder(Guarded(dpop=Dpop(origin="https://api.example")))
    assert (await behind.show(behind.proof(htu="https://api.example/"))).status == 200
    assert (await behind.show(behind.proof())).status == 401


async def test_a_bound_token_is_no_bearer_token() -> None:
    """Nor is a plain one shown by DPoP; with `required` a plain one is none at all."""
    holder = Holder(Guarded(dpop=Dpop()))
    assert (await holder.show(scheme="Bearer")).status == 401
    assert (await holder.show(holder.proof(), scheme="Bearer")).status == 401
    plain = holder.service.token()
    assert (await holder.service.bearing(plain, scheme="DPoP")).status == 401
    assert (await holder.service.bearing(plain)).status == 200
    strict = Guarded(dpop=Dpop(required=True))
    assert (await strict.bearing(strict.token())).status == 401
    assert [each.partition(" ")[0] for each in challenges(await strict.showing())] == ["DPoP"]
    without = Guarded()
    bound = Holder(without)
    assert (await bound.show(bound.proof())).status == 401
    assert (await bound.show(scheme="Bearer")).status == 401


async def test_a_call_that_waits_for_a_lease_may_ask_again() -> None:
    """Its proof was used by itself, not by another."""
    go_on = asyncio.Event()

    async def hold(_: Request) -> Response:
        await go_on.wait()
        return PlainTextResponse("done")

    policy = EndpointPolicy(security=Security(), concurrency=Concurrency(limit=1, queue=1))
    service = Guarded(None, Route("/hold", hold, name="hold"), policy=policy, dpop=Dpop())
    holder = Holder(service)

    async def begin() -> Caller:
        scope = http("/hold")
        fields = (("authorization", f"DPoP {holder.token}"), ("dpop", holder.proof(htu="http://test/hold")))
        scope["headers"] = [*scope["headers"], *((name.encode(), value.encode()) for name, value in fields)]
        caller = Caller(service.app, scope)
        await settle_down()
        return caller

    first, second = await begin(), await begin()
    assert not second.task.done()
    go_on.set()
    assert (await first.end()).status == 200
    for _ in range(100):
        service.clock.advance(0.05)
        await settle_down()
    assert (await second.end()).status == 200


def told(answer: Answer) -> str | None:
    """Return the nonce of an answer."""
    (start,) = answer.starts
    return next((value.decode() for name, value in start["headers"] if name == b"dpop-nonce"), None)


async def test_a_proof_must_carry_our_nonce() -> None:
    """401 use_dpop_nonce tells the one to use; with it the call counts, and what was refused consumed nothing (§8)."""
    policy = EndpointPolicy(security=Security(), rate_limit=FixedWindow(limit=1, window=60))
    holder = Holder(Guarded(policy=policy, dpop=Dpop(nonce=300)))
    answers = [await holder.show(holder.proof(nonce=nonce)) for nonce in (None, "made up", 7)]
    for answer in answers:
        assert (answer.status, problem(answer)) == (401, "invalid-credentials")
        assert 'error="use_dpop_nonce"' in challenges(answer)[1]
        assert "error" not in challenges(answer)[0]
    nonce = told(answers[-1])
    good = await holder.show(holder.proof(nonce=nonce))
    assert (good.status, told(good)) == (200, None)
    assert (await holder.show(holder.proof(nonce=nonce))).status == 429


async def test_nonces_rotate() -> None:
    """One counts for half of `nonce` at least, then the next is told with the answer, and `nonce` seconds at most."""
    holder = Holder(Guarded(dpop=Dpop(nonce=300)))
    first = told(await holder.show(holder.proof()))
    start = holder.service.clock.now()
    left = 150_000_000 - start % 150_000_000
    holder.service.clock.advance((left - 1) / 1_000_000)
    answer = await holder.show(holder.proof(nonce=first))
    assert (answer.status, told(answer)) == (200, None)
    holder.service.clock.advance(0.000001)
    answer = await holder.show(holder.proof(nonce=first))
    second = told(answer)
    assert answer.status == 200
    assert second not in (None, first)
    holder.service.clock.advance(149.999999)
    assert (await holder.show(holder.proof(nonce=first))).status == 200
    holder.service.clock.advance(0.000001)
    assert (await holder.show(holder.proof(nonce=first))).status == 401
    assert (await holder.show(holder.proof(nonce=second))).status == 200


async def test_processes_with_one_key_believe_each_other() -> None:
    """Without a store between them; others' nonces are none, whatever the key they were signed with."""
    ring = [b"k" * 32]
    first = Guarded(dpop=Dpop(nonce=300), keys=ring)
    holder = Holder(first)
    nonce = told(await holder.show(holder.proof()))
    for keys, status in ((ring, 200), ([b"n" * 32, *ring], 200), ([b"n" * 32], 401), (None, 401)):
        holder.service = Guarded(dpop=Dpop(nonce=300), keys=keys, issuer=first.issuer)
        assert (await holder.show(holder.proof(nonce=nonce))).status == status


async def test_a_clock_that_is_ahead_gives_nonces_that_count() -> None:
    """By one period, no more: without the key nobody makes one of the future."""
    nonces = Nonces(KeyRing([b"k" * 32]), 300_000_000)
    now = NOW * 1_000_000
    ahead = [nonces.judge(nonces.current(now + step * 150_000_000), now) for step in (-2, -1, 0, 1, 2)]
    assert ahead == ["bad", "due", "fresh", "fresh", "bad"]
    period, name, signature = nonces.current(now).split(".")
    forged = (f"{int(period, 16) + 1:x}.{name}.{signature}", f"{period}.{name}", f"é.{name}.{signature}", "x" * 300)
    assert [nonces.judge(each, now) for each in forged] == ["bad"] * 4


def test_processes_of_one_store_need_a_key_for_nonces() -> None:
    """The start fails and names it; a process alone does without."""
    issuer = FakeIssuer()
    security = EndpointPolicy(security=Security())
    kept: tuple[tuple[str, list[str | bytes] | None, int], ...] = (
        ("redis://127.0.0.1", None, 1),
        ("redis://127.0.0.1", [b"k" * 32], 0),
        ("memory://", None, 0),
    )
    for store, keys, lines in kept:
        config = JobConfig(default=security, issuers=[issuer.policy], dpop=Dpop(nonce=300), store=store, keys=keys)
        found = [line for line in config.check([], ["security"]) if "nonce" in line]
        assert len(found) == lines
        assert all('keys = ["env:FORECOURT_KEY"]' in line for line in found)
