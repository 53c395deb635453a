"""Contents sealed from end to end by JWE and HPKE beside jwcrypto, by size; and sealed calls beside a plain one."""

import json
import os
from collections.abc import Awaitable, Callable

import httpx
from joserfc.jwk import OKPKey
from jwcrypto import jwe as jwcrypto_jwe
from jwcrypto import jwk as jwcrypto_jwk
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.bench import Bench
from benchmarks.harness import Work
from benchmarks.results import Table
from forecourt import Encryption, EndpointPolicy, JobConfig, PayloadKeys, PolicyMiddleware, Principal, Security
from forecourt.client import Sealing, SealingTransport
from forecourt.payload.keys import generated, opener, sealer
from forecourt.policies.encryption import Format
from forecourt.policies.payload_keys import PRIVATE, Jwk
from forecourt.types import Scope

TITLE = "Sealing from end to end"
ABOUT = (
    "A content sealed to a key of X25519 and opened again: JWE is ECDH-ES with A256GCM, by joserfc under our own "
    "parser, and by jwcrypto; HPKE is by cryptography. Then whole calls, client and service in one process: sealed "
    "both ways, and in plain under the same stack."
)

_SIZES = ((200, "200 B"), (16_384, "16 kB"), (262_144, "256 kB"))
_CALLED = ((1024, "1 kB"), *_SIZES[1:])


async def run(bench: Bench) -> list[Table]:
    """Measure a table for each size, and one of whole calls."""
    tables = []
    for size, named in _SIZES:
        rows = await bench.measure_works(f"contents of {named}", _works(os.urandom(size)))
        tables.append(Table(f"contents_{size}", f"A content of {named}", rows, floor=""))
    for size, named in _CALLED:
        rows = await bench.measure_works(f"calls of {named}", _calls(size))
        tables.append(Table(f"contents_calls_{size}", f"A call with {named} both ways", rows, floor="plain"))
    return tables


def _works(content: bytes) -> list[Work]:
    return [
        Work("jwcrypto, JWE", _jwcrypto(content), "JWE(content).add_recipient(key)"),
        Work("forecourt, JWE", _ours("jwe", "x25519", content), "JweSealer(key).seal(header, content)", "ours"),
        Work("forecourt, HPKE", _ours("hpke", "hpke", content), "HpkeSealer(key).seal(header, content)", "ours"),
        Work("forecourt, hybrid HPKE", _ours("hpke", "hybrid", content), "ML-KEM-768 and X25519", "ours"),
    ]


def _calls(size: int) -> list[Work]:
    formats: tuple[Format, ...] = ("jwe", "hpke")
    plain = Work("plain", _call(None, size), "httpx.AsyncClient(…).post(…)", "ours")
    return [
        plain,
        *(Work(f"sealed, {form}", _call(form, size), "sealed_client(…).post(…)", "ours") for form in formats),
    ]


def _public(jwk: Jwk) -> dict[str, object]:
    return {name: value for name, value in jwk.items() if name not in PRIVATE}


def _ours(form: Format, kind: str, content: bytes) -> Callable[[], Awaitable[object]]:
    own = generated(kind, "own")
    seals, opens = sealer(form, _public(own)), opener(form, [own])

    async def work() -> None:
        if opens.open(seals.seal({"cty": "text/plain", "iat": 1_700_000_000}, content)).content != content:
            raise RuntimeError("it opened as another")

    return work


def _jwcrypto(content: bytes) -> Callable[[], Awaitable[object]]:
    own = jwcrypto_jwk.JWK(**OKPKey.generate_key("X25519").as_dict(private=True))
    header = json.dumps({"alg": "ECDH-ES", "enc": "A256GCM", "cty": "text/plain"})

    async def work() -> None:
        token = jwcrypto_jwe.JWE(content, header)
        token.add_recipient(own)
        back = jwcrypto_jwe.JWE()
        back.deserialize(token.serialize(compact=True), own)
        if back.payload != content:
            raise RuntimeError("it opened as another")

    return work


class _Anyone:
    challenge = "Anyone"

    async def authenticate(self, _scope: Scope) -> Principal | None:
        return Principal("any", "alice")


def _call(form: Format | None, size: int) -> Callable[[], Awaitable[object]]:
    service, alice = (generated("x25519", name) for name in ("service", "alice"))
    way = "required" if form else "off"
    config = JobConfig(
        authenticators={"anyone": _Anyone()},
        payload_keys=PayloadKeys(own=[json.dumps(service).encode()], callers={"any": {"alice": _public(alice)}}),
        default=EndpointPolicy(
            security=Security(), logging="off", encryption=Encryption(request=way, response=way, format=form or "jwe")
        ),
    )

    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="text/plain")

    app = Starlette(routes=[Route("/", echo, methods=["POST"])])
    app.add_middleware(PolicyMiddleware, config=config)
    inner = httpx.ASGITransport(app=app)
    transport: httpx.AsyncBaseTransport = inner
    if form:
        transport = SealingTransport(Sealing(service=_public(service), own=alice, format=form), inner)
    client = httpx.AsyncClient(base_url="http://test", transport=transport)
    content = os.urandom(size // 2).hex().encode()

    async def work() -> None:
        answer = await client.post("/", content=content)
        if answer.content != content:
            raise RuntimeError(f"{answer.status_code}: {answer.text}")

    return work
