"""Authentication beside its peers: a bearer token that was seen before, one that was not, a key, a proof."""

import hashlib
import os
import time
from dataclasses import replace
from typing import Any

from benchmarks import ours
from benchmarks.apps import fastapi
from benchmarks.bench import Bench
from benchmarks.calls import ASGIApp, Call
from benchmarks.harness import Variant
from benchmarks.peers import auth
from benchmarks.peers.parts import alone
from benchmarks.results import Table
from forecourt import ApiKey, ApiKeys, Dpop, EndpointPolicy, Security
from forecourt.auth.compact import encoded
from forecourt.auth.jose import SigningKey
from forecourt.core.api_key import hashed, made
from forecourt.testing import FakeIssuer

TITLE = "Authentication"
ABOUT = (
    "One FastAPI route that answers 1 KB, for callers with a valid token of the scope that the endpoint asks for. None "
    "of the peers remembers a token that it has seen. forecourt is the whole stack; what its layer alone adds is "
    "the difference to `forecourt, no policy`."
)
MISSING = ["No peer verifies proofs of possession (DPoP): its row has none to stand beside."]

FLOOR = "FastAPI alone"
BARE = "forecourt, no policy"
KNOWN = "forecourt, known token, HS256"
PEER = "PyJWT HS256"
KEYS = "FastAPI APIKeyHeader"
READY = 20_000
"""Proofs that are signed beforehand; a full run makes about half as many calls."""
_ALGORITHMS = ("HS256", "RS256", "ES256")


async def run(bench: Bench) -> list[Table]:
    """Measure all."""
    peers = [auth.pyjwt(each) for each in _ALGORITHMS] + [auth.joserfc_part(each) for each in _ALGORITHMS]
    floor = Variant(FLOOR, fastapi(), side="base")
    bare = Variant(BARE, ours.protected(ours.config()), config="EndpointPolicy()", side="ours")
    tokens = [alone(part) for part in (*peers, auth.starlette())] + [bare] + [_known(each) for each in _ALGORITHMS]
    rows = await bench.measure("bearer", [floor, *tokens])
    keys = await bench.measure("API key", [floor, alone(auth.api_key()), bare, _key()])
    proofs = await bench.measure("DPoP", [floor, bare, _known("ES256"), _proof()])
    return [
        Table("auth", "Authentication by a bearer token", rows, floor=FLOOR, reference=PEER),
        Table("auth_keys", "Authentication by an API key", keys, floor=FLOOR, reference=KEYS),
        Table("auth_proofs", "Authentication by a token and a proof of possession", proofs, floor=FLOOR),
    ]


def _known(algorithm: str) -> Variant:
    issuer = FakeIssuer(algorithm=algorithm)
    header = (b"authorization", b"Bearer " + issuer.token(scopes={"read:records"}, exp=4_000_000_000).encode())
    security = Security(scopes={"read:records"})
    return _ours(f"forecourt, known token, {algorithm}", security, header, issuers=[issuer.policy])


def _key() -> Variant:
    text = made("fc", lambda letters: letters[7])
    record = ApiKey(id=text.split("_")[1], hash=hashed(text, None), owner="caller", scopes={"read:records"})
    security = Security(scopes={"read:records"})
    return _ours("forecourt, API key", security, (b"x-api-key", text.encode()), api_keys=ApiKeys(keys=[record]))


def _proof() -> Variant:
    issuer = FakeIssuer(algorithm="HS256")
    proofs = _Proofs(issuer)
    header = (b"authorization", b"DPoP " + proofs.token.encode())
    security, dpop = Security(scopes={"read:records"}), Dpop(max_age=3600)
    variant = _ours("forecourt, known token and a proof, ES256", security, header, issuers=[issuer.policy], dpop=dpop)
    note = "each call has a proof of its own, signed before: its signature is verified, its use asked of the store"
    return replace(variant, app=_Proving(variant.app, proofs), note=note)


class _Proofs:
    """A client's key, its token, and a proof for each call; signed beforehand, so that signing is not measured."""

    def __init__(self, issuer: FakeIssuer) -> None:
        self._key = SigningKey.generate("ES256")
        jwk = self._key.jwk()
        self._header = {"typ": "dpop+jwt", "jwk": {name: jwk[name] for name in ("kty", "crv", "x", "y")}}
        bound = {"jkt": self._key.verifying.thumbprint}
        self.token = issuer.token(scopes={"read:records"}, exp=4_000_000_000, cnf=bound)
        self._ath = encoded(hashlib.sha256(self.token.encode()).digest())
        self._ready = [self._signed() for _ in range(READY)]

    def next(self) -> bytes:
        """Return a proof that was not used."""
        return self._ready.pop() if self._ready else self._signed()

    def _signed(self) -> bytes:
        claims = {
            "jti": os.urandom(12).hex(),
            "htm": "GET",
            "htu": "http://127.0.0.1:8000/records/7",
            "iat": int(time.time()),
            "ath": self._ath,
        }
        return self._key.sign(claims, self._header).encode()


class _Proving:
    """The client's half of DPoP: adds a proof to each call."""

    def __init__(self, app: ASGIApp, proofs: _Proofs) -> None:
        self._app = app
        self._proofs = proofs

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Add the proof, and call on."""
        if scope["type"] == "http":
            scope["headers"].append((b"dpop", self._proofs.next()))
        await self._app(scope, receive, send)


def _ours(name: str, security: Security, header: tuple[bytes, bytes], **fields: Any) -> Variant:
    config = ours.settings(EndpointPolicy(security=security), **fields)
    call = Call()._replace(headers=(*Call().headers, header))
    return Variant(name, ours.protected(config), call, 'Security(scopes={"read:records"})', side="ours")
