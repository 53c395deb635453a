"""Authentication beside its peers: a bearer token that was seen before, one that was not, a key, a proof."""

from typing import Any

from benchmarks import ours
from benchmarks.apps import fastapi
from benchmarks.bench import Bench
from benchmarks.calls import Call
from benchmarks.harness import Variant
from benchmarks.peers import auth
from benchmarks.peers.parts import alone
from benchmarks.results import Table
from forecourt import ApiKey, ApiKeys, EndpointPolicy, JobConfig, Security
from forecourt.core.api_key import hashed, made
from forecourt.testing import FakeIssuer

TITLE = "Authentication"
ABOUT = (
    "One FastAPI route that answers 1 KB, for callers with a valid token of the scope that the endpoint asks for. None "
    "of the peers remembers a token that it has seen. forecourt is the whole stack; what its layer alone adds is "
    "the difference to `forecourt, no policy`."
)
MISSING = ["DPoP: a proof is for one call, so that it cannot be measured by calls that are all alike."]

FLOOR = "FastAPI alone"
BARE = "forecourt, no policy"
KNOWN = "forecourt, known token, HS256"
PEER = "PyJWT HS256"
_ALGORITHMS = ("HS256", "RS256", "ES256")


async def run(bench: Bench) -> list[Table]:
    """Measure all."""
    peers = [auth.pyjwt(each) for each in _ALGORITHMS] + [auth.joserfc_part(each) for each in _ALGORITHMS]
    variants = [
        Variant(FLOOR, fastapi(), side="base"),
        *(alone(part) for part in (*peers, auth.starlette())),
        Variant(BARE, ours.protected(ours.config()), config="EndpointPolicy()", side="ours"),
        *(_known(algorithm) for algorithm in _ALGORITHMS),
        _key(),
    ]
    rows = await bench.measure("bearer", variants)
    return [Table("auth", "Authentication by a bearer token or a key", rows, floor=FLOOR, reference=PEER)]


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


def _ours(name: str, security: Security, header: tuple[bytes, bytes], **fields: Any) -> Variant:
    config = JobConfig(default=EndpointPolicy(security=security), **fields)
    call = Call()._replace(headers=(*Call().headers, header))
    return Variant(name, ours.protected(config), call, 'Security(scopes={"read:records"})', side="ours")
