"""A service whose contents are sealed from end to end, and callers who seal and open by hand."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, cast

from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from forecourt import Encryption, EndpointPolicy, JobConfig, PayloadKeys, Principal, Security
from forecourt.core.payload import Call, Header, Opened, of_request
from forecourt.payload import hpke, jwe
from forecourt.payload.keys import Opens, Seals, opener, sealer
from forecourt.policies.encryption import Format
from forecourt.policies.payload_keys import PRIVATE, Jwk
from forecourt.stores.contract import Store
from forecourt.testing import FakeClock
from forecourt.types import SECOND, Message, Scope
from tests.asgi import Answer, call, http
from tests.services import starlette

Kind = Literal["x25519", "p256", "rsa", "hpke", "hybrid"]
PLANTED = {"secret": "PLANTED-IN-PLAIN"}
_PATIENT = {"version": "3.0", "spec_version": "2.4"}
"""With this handlers do not listen for a disconnect, which here comes with the end of the request."""
MEDIA: Mapping[Format, bytes] = {"jwe": b"application/jose", "hpke": b"application/vnd.forecourt.hpke"}


@cache
def private(kind: Kind, kid: str) -> Header:
    """Return a private key, made once."""
    if kind == "rsa":  # a shorter one than users are given: to make it takes a fifth of the time
        key = RSAKey.generate_key(2048, {"kid": kid, "use": "enc"})
        return cast("Header", dict(key.as_dict(private=True)))
    if kind == "hpke":
        return hpke.generated("x25519", kid)
    return hpke.generated(kind, kid) if kind == "hybrid" else jwe.generated(kind, kid)


def public(jwk: Jwk) -> Header:
    """Return the half that may be given away."""
    return {name: value for name, value in jwk.items() if name not in PRIVATE}


def as_bytes(*jwks: Jwk) -> bytes:
    """Return a JWK set as a file has it."""
    return json.dumps({"keys": [dict(each) for each in jwks]}).encode()


class ByField:
    """Believes the field `x-user`."""

    challenge = "Field"

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return the caller."""
        user = next((value for name, value in scope["headers"] if name == b"x-user"), None)
        return Principal("field", user.decode()) if user else None


class Vault:
    """`/` of any method, sealed as `encryption` says; `bodies` are those that the handler has read.

    `alice` and `bob` have registered keys, `carol` has none.
    """

    def __init__(
        self,
        encryption: Encryption,
        kind: Kind = "x25519",
        *,
        answer: Callable[[Request, bytes], Response] | None = None,
        store: Store | None = None,
        config: Mapping[str, object] | None = None,
        **policies: object,
    ) -> None:
        self.kind: Kind = kind
        self.form: Format = encryption.format
        self.clock = FakeClock()
        self.bodies: list[bytes] = []
        self.seen: dict[str, str] = {}
        self.decisions: list[tuple[str, str]] = []
        self._answer = answer or (lambda _request, _body: JSONResponse({**PLANTED, "n": len(self.bodies)}))
        self.own, self.alice, self.bob = (private(kind, name) for name in ("service", "alice", "bob"))
        policy = EndpointPolicy(encryption=encryption, security=Security(), **policies)  # type: ignore[arg-type]  # theirs
        self.config = JobConfig(
            default=policy,
            authenticators={"field": ByField()},
            payload_keys=PayloadKeys(
                own=[as_bytes(self.own)],
                callers={"field": {"alice": public(self.alice), "bob": public(self.bob)}},
            ),
            on_decision=lambda _, decision: self.decisions.append(decision[:2]),
            **(config or {}),  # type: ignore[arg-type]  # the tests' own words
        )
        routes = [Route("/", self._read, methods=["GET", "POST", "PUT"], name="read")]
        self.app = starlette(self.config, *routes, clock=self.clock, store=store)

    @property
    def now(self) -> int:
        """The time in seconds."""
        return self.clock.now() // SECOND

    def to_service(self) -> Seals:
        """Return what seals requests."""
        return sealer(self.form, public(self.own))

    def of(self, name: str) -> Opens:
        """Return what opens a caller's answers."""
        return opener(self.form, [{"alice": self.alice, "bob": self.bob}[name]])

    def seal(self, content: bytes = b'{"amount":1}', /, kind: str = "application/json", **said: object) -> bytes:
        """Return a request's content as alice seals it."""
        header = of_request(Call("POST", b"/"), self.now, "id-1", kind)
        return self.to_service().seal({**header, **said}, content)

    async def send(
        self,
        body: bytes,
        kind: bytes | None = None,
        *fields: tuple[bytes, bytes],
        user: str = "alice",
        method: str = "POST",
        query: bytes = b"",
    ) -> Answer:
        """Send a body as it is."""
        typed = [(b"content-type", kind or MEDIA[self.form])] if kind != b"" else []
        length = [(b"content-length", b"%d" % len(body))]
        scope = http("/", method, headers=[(b"x-user", user.encode()), *typed, *length, *fields])
        scope.update(query_string=query, extensions={"http.response.pathsend": {}}, asgi=_PATIENT)
        message: Message = {"type": "http.request", "body": body, "more_body": False}
        return await call(self.app, scope, message)

    async def get(self, *fields: tuple[bytes, bytes], user: str = "alice", method: str = "GET") -> Answer:
        """Ask without content."""
        scope = http("/", method, headers=[(b"x-user", user.encode()), *fields])
        return await call(self.app, {**scope, "asgi": _PATIENT})

    def open(self, answer: Answer, user: str = "alice") -> Opened:
        """Open an answer."""
        return self.of(user).open(answer.body)

    async def _read(self, request: Request) -> Response:
        self.seen = dict(request.headers)
        body = await request.body()
        self.bodies.append(body)
        return self._answer(request, body)
