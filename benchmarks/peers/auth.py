"""Authentication of peers: a bearer token, verified on every request (none of them remembers one it has seen)."""

import hashlib
import time
from typing import Annotated, Any

import joserfc.jwk
import joserfc.jwt
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from benchmarks.peers.parts import Part

ISSUER, AUDIENCE = "https://issuer.example", "records"
_SECRET = "benchmark-secret-of-more-than-32-bytes"
_bearer = HTTPBearer()
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(_bearer)]


def _keys(algorithm: str) -> tuple[Any, Any]:
    """Return the key that signs and the key that verifies, as PEM or text."""
    if algorithm == "HS256":
        return _SECRET, _SECRET
    private: Any
    if algorithm == "RS256":
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        private = ec.generate_private_key(ec.SECP256R1())
    signing = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key()
    return signing, public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _header(key: Any, algorithm: str) -> tuple[bytes, bytes]:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "caller", "scope": "read:records", "exp": int(time.time()) + 86400}
    return b"authorization", b"Bearer " + jwt.encode(claims, key, algorithm).encode()


def pyjwt(algorithm: str = "HS256") -> Part:
    """Return a dependency that decodes with PyJWT."""
    signing, verifying = _keys(algorithm)
    key = jwt.PyJWK.from_dict(
        {"kty": "oct", "k": jwt.utils.base64url_encode(_SECRET.encode()).decode(), "alg": "HS256"}
    ).key
    if algorithm != "HS256":
        key = serialization.load_pem_public_key(verifying)

    async def authenticated(credentials: Credentials) -> dict[str, Any]:
        try:
            return jwt.decode(credentials.credentials, key, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER)
        except jwt.InvalidTokenError:
            raise HTTPException(401) from None

    return Part(
        f"PyJWT {algorithm}",
        "Depends(HTTPBearer) and jwt.decode with audience and issuer; the key is parsed once",
        dependencies=(Depends(authenticated),),
        headers=(_header(signing, algorithm),),
    )


def joserfc_part(algorithm: str = "HS256") -> Part:
    """Return a dependency that decodes with joserfc."""
    signing, verifying = _keys(algorithm)
    kind = {"HS256": "oct", "RS256": "RSA", "ES256": "EC"}[algorithm]
    key = joserfc.jwk.import_key(verifying, kind)  # type: ignore[call-overload]  # one call for three kinds
    registry = joserfc.jwt.JWTClaimsRegistry(
        aud={"essential": True, "value": AUDIENCE}, iss={"essential": True, "value": ISSUER}
    )

    async def authenticated(credentials: Credentials) -> dict[str, Any]:
        try:
            token = joserfc.jwt.decode(credentials.credentials, key, algorithms=[algorithm])
            registry.validate(token.claims)
        except (joserfc.errors.JoseError, ValueError):
            raise HTTPException(401) from None
        return token.claims

    return Part(
        f"joserfc {algorithm}",
        "Depends(HTTPBearer), jwt.decode and a JWTClaimsRegistry with audience and issuer; the key is parsed once",
        dependencies=(Depends(authenticated),),
        headers=(_header(signing, algorithm),),
    )


class _Backend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        try:
            token = conn.headers["authorization"].removeprefix("Bearer ")
            claims = jwt.decode(token, _SECRET, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER)
        except (KeyError, jwt.InvalidTokenError):
            raise AuthenticationError("no valid token") from None
        return AuthCredentials(claims["scope"].split()), SimpleUser(claims["sub"])


def starlette() -> Part:
    """Return Starlette's own middleware with PyJWT in its backend."""

    def install(app: FastAPI) -> None:
        app.add_middleware(AuthenticationMiddleware, backend=_Backend())

    return Part(
        "Starlette AuthenticationMiddleware, PyJWT HS256",
        "an AuthenticationBackend that calls jwt.decode with audience and issuer",
        install=install,
        headers=(_header(_SECRET, "HS256"),),
    )


def api_key() -> Part:
    """Return a dependency that looks a key up by its hash, as FastAPI's own APIKeyHeader leaves it to the app."""
    text = "benchmark-key-of-more-than-32-characters"
    owners = {hashlib.sha256(text.encode()).hexdigest(): "caller"}
    header = APIKeyHeader(name="X-API-Key")

    async def authenticated(shown: Annotated[str, Depends(header)]) -> str:
        owner = owners.get(hashlib.sha256(shown.encode()).hexdigest())
        if owner is None:
            raise HTTPException(401)
        return owner

    return Part(
        "FastAPI APIKeyHeader",
        "Depends(APIKeyHeader) and a look-up by SHA-256 in a dict",
        dependencies=(Depends(authenticated),),
        headers=((b"x-api-key", text.encode()),),
    )
