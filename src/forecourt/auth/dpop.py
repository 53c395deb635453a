"""Proofs of possession (RFC 9449): a signed statement that who shows a token also has the key that it is bound to.

A proof names the method and address of this very call, the token by its hash, and an id of its own. Everything but
"was it used before?" is decided here, without I/O; that question goes with the others of the call, in its one trip.
Where the config asks for nonces, a proof must carry one of ours (§8): one made in advance, by someone who had the key
for a moment, is then worth nothing later.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from forecourt.auth.compact import Compact, compact
from forecourt.auth.credentials import Credential, Rejected
from forecourt.auth.nonces import Nonces
from forecourt.auth.rings import Key
from forecourt.core.tokens import Claims
from forecourt.policies.issuer import ASYMMETRIC, Dpop
from forecourt.policies.keys import KeyRing
from forecourt.policies.quantities import microseconds
from forecourt.types import SECOND, Scope

PublicKey = Callable[[object], Key | None]

_LONGEST_ID = 256
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_WEB = {"ws": "http", "wss": "https"}


class Proof(NamedTuple):
    """A proof that holds; `id` is its `jti`, to be used once in the next `keep` µs.

    `next_nonce`: the nonce to use from now on, empty while the one that was shown is still the newest.
    """

    id: str
    keep: int
    next_nonce: str = ""


class ProofReader:
    """Judges the proofs of one config; `ring` signs nonces, by default one of this process alone."""

    def __init__(
        self, policy: Dpop, public_key: PublicKey, clock: Callable[[], int], ring: KeyRing | None = None
    ) -> None:
        self._max_age = microseconds(policy.max_age)
        self._leeway = microseconds(policy.leeway)
        self._origin = policy.origin
        self._public_key = public_key
        self._now = clock
        lifetime = policy.nonce
        self._nonces = None if lifetime is None else Nonces(ring or KeyRing.random(), microseconds(lifetime))

    def nonce(self) -> str:
        """Return the nonce that proofs must carry now; empty where they need none."""
        return "" if self._nonces is None else self._nonces.current(self._now())

    def read(self, scope: Scope, credential: Credential) -> Proof | Rejected:
        """Judge the one proof of a call whose token is bound to a key (§4.3)."""
        shown = [value for name, value in scope["headers"] if name == b"dpop"]
        if len(shown) != 1:
            return _bad("there must be one proof" if shown else "the proof is missing")
        proof = compact(shown[0].decode("latin-1"))
        if proof is None or proof.header.get("typ") != "dpop+jwt" or proof.algorithm not in ASYMMETRIC:
            return _bad("the proof is malformed")
        key = self._public_key(proof.header.get("jwk"))
        if key is None or not key.verifies(proof.algorithm, proof.signed, proof.signature):
            return _bad("the proof's signature does not hold")
        if key.thumbprint != credential.thumbprint:
            return _bad("the proof is by another key than the token is bound to")
        return self._about(proof, scope, credential)

    def _about(self, proof: Compact, scope: Scope, credential: Credential) -> Proof | Rejected:
        claims = proof.claims
        if claims.get("htm") != _method(scope) or not self._is_here(claims.get("htu"), scope):
            return _bad("the proof is for another call")
        if claims.get("ath") != credential.ath:
            return _bad("the proof is for another token")
        now = self._now()
        fresh = "fresh" if self._nonces is None else self._nonces.judge(claims.get("nonce"), now)
        if fresh == "bad":
            return Rejected("nonce", "the proof must carry the nonce of DPoP-Nonce")
        kept = self._kept(claims, now)
        return Proof(*kept, self.nonce() if fresh == "due" else "") if isinstance(kept, tuple) else _bad(kept)

    def _kept(self, claims: Claims, now: int) -> tuple[str, int] | str:
        """Return the id of a proof and for how many µs it could be shown again; or what is wrong with it."""
        issued, id_ = claims.get("iat"), claims.get("jti")
        if not isinstance(id_, str) or not 0 < len(id_) <= _LONGEST_ID:
            return "the proof has no id"
        if isinstance(issued, bool) or not isinstance(issued, int | float) or not 0 <= issued < 2**53 // SECOND:
            return "the proof has no time"
        age = now - int(issued * SECOND)
        if not -self._leeway <= age <= self._max_age + self._leeway:
            return "the proof is too old or from the future"
        return id_, self._max_age + self._leeway - age + 1

    def _is_here(self, address: object, scope: Scope) -> bool:
        """Whether an address without query and fragment names this call's (§4.2, RFC 3986 §6.2.2)."""
        if not isinstance(address, str):
            return False
        try:
            parts = urlsplit(address)
            theirs = (parts.scheme.lower(), parts.hostname, parts.port or _PORTS.get(parts.scheme.lower()))
            here = self._here(scope)
        except ValueError:
            return False
        if parts.query or parts.fragment or "@" in parts.netloc:
            return False
        return theirs == here and (parts.path or "/") in _paths(scope)

    def _here(self, scope: Scope) -> tuple[str, str | None, int | None]:
        scheme = _WEB.get(scope["scheme"], scope["scheme"])
        host = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        parts = urlsplit(self._origin or f"{scheme}://{host[0] if host else ''}")
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _paths(scope: Scope) -> Sequence[str]:
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"]
    return (path,) if raw is None else (raw.decode("latin-1").partition("?")[0], path)


def _method(scope: Scope) -> str:
    method: str = scope.get("method", "GET")
    return method


def _bad(why: str) -> Rejected:
    return Rejected("proof", why)
