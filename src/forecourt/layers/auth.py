"""Auth: who is calling, and may they.

`EndpointPolicy(security=Security(…))` turns it on; `issuers`, `api_keys`, `introspection` and `authenticators` of the
config say who is believed. It stands above all that counts or keeps by caller, and below the flood guard. A token that
was seen before is checked without an await; keys are fetched and other servers asked only where they must be. It asks
the store nothing, unless the config says `revocation`, or a proof of possession must be used up: those questions go
first in the exchange's one trip, and where one refuses nothing else is consumed.

Refuses with 401 and a challenge for each way to authenticate (RFC 6750 §3: without an error code where there were no
credentials), 401 `use_dpop_nonce` and a `DPoP-Nonce` where a proof must carry another (RFC 9449 §8), 400 for a
malformed field and for two credentials at once, 403 and the scopes that the endpoint asks for, 401
`insufficient_user_authentication` for a login that is too old or too weak (RFC 9470), and 503 where nobody can tell:
no key of the issuer was ever obtained, a server that must be asked does not answer, or the store is down and a
question must be asked of it. A WebSocket is refused before it is accepted. Event streams and WebSockets end when their
caller's token does.
"""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import cast

from starlette.authentication import AuthCredentials, UnauthenticatedUser

from forecourt.auth.authentication import Authentication, Outcome
from forecourt.auth.credentials import Credential, Rejected
from forecourt.auth.dpop import Proof
from forecourt.core.permits import Challenge, Demand, permitted
from forecourt.core.permits import Verdict as Permit
from forecourt.decisions import Outcome as Said
from forecourt.exchange import KEY, Exchange
from forecourt.layers.ending import Ending
from forecourt.policies.quantities import exact, microseconds
from forecourt.policies.security import Security
from forecourt.responses import FORBIDDEN, STORE_UNAVAILABLE, TYPES, Problem, Refusal
from forecourt.revocations import proof_question, questions_of
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import ASGIApp, Receive, Scope, Send

UNAUTHENTICATED = Problem(
    401, "Unauthorized", TYPES + "unauthenticated", "This endpoint must know who is calling; nothing was done."
)
INVALID = Problem(401, "Unauthorized", TYPES + "invalid-credentials", "The credentials are not accepted.")
MALFORMED = Problem(400, "Bad Request", TYPES + "malformed-credentials", "The credentials cannot be read.")
LOGIN = Problem(
    401, "Unauthorized", TYPES + "login-required", "This endpoint asks for a more recent or a stronger login."
)
UNAVAILABLE = Problem(
    503, "Service Unavailable", TYPES + "authentication-unavailable", "Nobody can tell now who is calling."
)

_SAID: dict[int, Said] = {401: "challenged", 403: "forbidden", 503: "unavailable"}
"""What observers are told of a refusal, by its status."""

_USED = "the proof was used before"
_REVOKED = "the token was revoked"
_BOUND = frozenset({"DPoP"})
_NONCE = b"dpop-nonce"


class AuthLayer:
    """Lets callers of one endpoint in; see the module for what it answers."""

    settles = False

    def __init__(self, app: ASGIApp, *, policy: Security, runtime: Runtime, authentication: Authentication) -> None:
        self.app = app
        self._policy = policy
        self._public, self._anonymous = policy.public, policy.anonymous
        self._schemes = policy.schemes
        self._authentication = authentication
        self._demand = _demand(policy)
        self._asks_nothing = not policy.demands
        self._keys = runtime.keys
        self._revocation = runtime.config.revocation
        self._usual = self._usual_scopes()
        self._proofs = authentication.proof_reader()
        self._clock = runtime.clock
        challenges = authentication.challenges(policy.schemes)
        resource = runtime.config.resource_metadata
        self._challenges = [
            each._replace(params={**each.params, "resource_metadata": resource})
            if resource and each.scheme in ("Bearer", "DPoP")
            else each
            for each in challenges
        ]
        self._bare = tuple(each.field() for each in self._challenges)
        self._told_scopes = " ".join(sorted(policy.scopes)) if runtime.config.tell_scopes else ""

    def _usual_scopes(self) -> frozenset[str] | None:
        """Return the scopes that are all it takes to be let in; None where more must be looked at, or asked."""
        only_scopes = self._demand == Demand(self._demand.scopes)
        return self._demand.scopes if only_scopes and self._schemes is None and not self._revocation else None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Find out who is calling; refuse and return, or call on: without a coroutine, where nothing is waited for."""
        exchange: Exchange = scope[KEY]
        if self._public:
            _as_nobody(scope)
            return self.app(scope, receive, send)
        found = self._authentication.authenticate(scope)
        if type(found) is Credential:
            usual = self._usual
            if usual is not None and usual <= found.standing.scopes and found.thumbprint is None:
                _as(found, exchange)
                exchange.decided("security", "allowed")
                return self._let_in(found, exchange, scope, receive, send)
        elif isinstance(found, Awaitable):
            return self._awaited(found, exchange, scope, receive, send)
        return self._found(found, exchange, scope, receive, send)

    async def _awaited(
        self, found: Awaitable[Outcome], exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Wait for a server or the store to say who is calling, and go on."""
        await self._found(await found, exchange, scope, receive, send)

    def _found(self, found: Outcome, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Refuse who was found, or call on."""
        if refused := self._admitted(exchange, found):
            exchange.decided("security", _SAID.get(refused.problem.status, "refused"))
            return refused(scope, receive, send)
        exchange.decided("security", "allowed" if type(found) is Credential else "anonymous")
        if self in exchange.notes:
            return self._asked(found, exchange, scope, receive, send)
        return self._let_in(found, exchange, scope, receive, send)

    async def _asked(self, found: Outcome, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the store about the caller; refuse and return, or call on."""
        refused = await exchange.ask(self)
        await (refused(scope, receive, send) if refused else self._let_in(found, exchange, scope, receive, send))

    def _let_in(
        self, found: Outcome, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Call on; what becomes a stream ends with its caller."""
        if type(found) is not Credential or (found.expires is None and not self._revocation):
            return self.app(scope, receive, send)
        revoked = partial(self._is_revoked, exchange, found) if self._revocation else None
        return Ending(exchange, self._clock, found.expires, revoked).run(self.app, scope, receive, send)

    def questions(self, exchange: Exchange) -> Sequence[Question]:
        """Ask whether the caller is revoked, and whether the proof was used."""
        return cast("Sequence[Question]", exchange.notes.get(self, ()))

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> Refusal | None:
        """Refuse who is revoked, and a proof that was used."""
        for question, answer in zip(self.questions(exchange), answers, strict=True):
            if not answer.values:
                exchange.decided("security", "unavailable")
                return exchange.refuse(STORE_UNAVAILABLE, retry_after=1)
            if answer.verdict == "refuse":
                exchange.decided("security", "challenged")
                is_proof = question.kind == "proof_use"
                return self._refused(exchange, Rejected("proof", _USED) if is_proof else Rejected("token", _REVOKED))
        return None

    def settlements(self, _exchange: Exchange, _answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Nothing is held."""
        return ()

    def _admitted(self, exchange: Exchange, found: Outcome) -> Refusal | None:
        """Decide on who was found; note the principal and what must be asked, or refuse."""
        if type(found) is not Credential:
            if found is None and self._anonymous:
                _as_nobody(exchange.scope)
                return None
            return self._refused(exchange, cast("Rejected | None", found))
        if self._schemes is not None and found.scheme not in self._schemes:
            return self._refused(exchange, Rejected("token", "this way to authenticate does not count here"))
        if not self._asks_nothing:
            permit = permitted(self._demand, found.standing, self._clock.now())
            if permit != "go":
                return self._forbidden(exchange, permit, found)
        if self._revocation or found.thumbprint is not None:
            refused = self._must_ask(exchange, found)
            if refused is not None:
                return refused
        _as(found, exchange)
        return None

    def _must_ask(self, exchange: Exchange, found: Credential) -> Refusal | None:
        """Judge the proof, and note what only the store knows."""
        asked = questions_of(self._keys, found) if self._revocation else []
        if found.thumbprint is not None:
            assert self._proofs is not None, "a bound token is let in by a proof only"
            proof = self._proofs.read(exchange.scope, found)
            if not isinstance(proof, Proof):
                return self._refused(exchange, proof)
            if proof.next_nonce:
                exchange.headers.append((_NONCE, proof.next_nonce.encode("ascii")))
            asked.append(proof_question(self._keys, found, proof.id, exchange.id, proof.keep))
        exchange.notes[self] = tuple(asked)
        return None

    async def _is_revoked(self, exchange: Exchange, found: Credential) -> bool:
        answers = await exchange.runtime.store.decide(questions_of(self._keys, found))
        return any(answer.verdict == "refuse" and answer.values for answer in answers)

    def _refused(self, exchange: Exchange, rejected: Rejected | None) -> Refusal:
        if rejected is None:
            return _with(exchange.refuse(UNAUTHENTICATED), self._bare)
        fault, why = rejected
        if fault == "unavailable":
            return exchange.refuse(UNAVAILABLE, retry_after=1)
        if fault == "request":
            return self._challenged(exchange, MALFORMED, {"error": "invalid_request", "error_description": why})
        if fault == "nonce":
            assert self._proofs is not None, "who judged the nonce gives them"
            told = {"error": "use_dpop_nonce", "error_description": why}
            fresh = ((_NONCE, self._proofs.nonce().encode("ascii")),)
            return _with(self._challenged(exchange, INVALID, told, _BOUND), fresh)
        if fault == "proof":
            told = {"error": "invalid_dpop_proof", "error_description": why}
            return self._challenged(exchange, INVALID, told, _BOUND)
        return self._challenged(exchange, INVALID, {"error": "invalid_token", "error_description": why})

    def _forbidden(self, exchange: Exchange, permit: Permit, found: Credential) -> Refusal:
        if permit == "login":
            told = {"error": "insufficient_user_authentication", "acr_values": " ".join(sorted(self._policy.acr))}
            if self._policy.max_age is not None:
                told["max_age"] = str(int(exact(self._policy.max_age)))
            return self._challenged(exchange, LOGIN, told)
        if permit == "roles" or found.scheme not in ("bearer", "introspection"):
            return exchange.refuse(FORBIDDEN)
        told = {"error": "insufficient_scope", "scope": self._told_scopes}
        return self._challenged(exchange, FORBIDDEN, told)

    def _challenged(
        self,
        exchange: Exchange,
        problem: Problem,
        told: Mapping[str, str],
        only: frozenset[str] = frozenset({"Bearer", "DPoP"}),
    ) -> Refusal:
        """Refuse, saying in the challenges for tokens what is wrong."""
        fields = [
            (Challenge(each.scheme, {**each.params, **told}) if each.scheme in only else each).field()
            for each in self._challenges
        ]
        return _with(exchange.refuse(problem), tuple(fields))


def _demand(policy: Security) -> Demand:
    return Demand(
        frozenset(policy.scopes),
        frozenset(policy.roles),
        policy.match_scopes == "any",
        policy.match_roles == "any",
        None if policy.max_age is None else microseconds(policy.max_age),
        frozenset(policy.acr),
    )


def _as(found: Credential, exchange: Exchange) -> None:
    exchange.principal = found.principal
    scope = exchange.scope
    scope["user"] = found.user
    scope["auth"] = AuthCredentials(found.principal.scopes)  # type: ignore[arg-type]  # it makes a list of its own


def _as_nobody(scope: Scope) -> None:
    scope["user"] = UnauthenticatedUser()
    scope["auth"] = AuthCredentials()


def _with(refusal: Refusal, fields: tuple[tuple[bytes, bytes], ...]) -> Refusal:
    return Refusal(refusal.problem, refusal.retry_after, (*refusal.headers, *fields), refusal.renderer)
