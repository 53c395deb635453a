"""An issuer for tests, which signs what it is told."""

from collections.abc import Collection

from forecourt.policies import Issuer
from forecourt.revocations import new_id
from forecourt.types import SECOND, Clock, SystemClock


class FakeIssuer:
    """An issuer with a key of its own, for tests: `JobConfig(issuers=[fake.policy], …)`, `fake.headers(scopes={…})`.

    `clock` says when tokens are issued; they count for an hour unless `exp` is given. Needs the extra `auth`.
    """

    def __init__(
        self,
        issuer: str = "https://issuer.example",
        audience: str = "tests",
        *,
        algorithm: str = "ES256",
        clock: Clock | None = None,
        **policy: object,
    ) -> None:
        from forecourt.auth.jose import SigningKey  # noqa: PLC0415  # the extra `auth` is optional

        self.issuer = issuer
        self.audience = audience
        self.key: SigningKey = SigningKey.generate(algorithm, kid=new_id())
        self._clock = clock or SystemClock()
        self._policy = policy

    @property
    def policy(self) -> Issuer:
        """The issuer as a config names it."""
        fields = {"keys": [self.key.jwk()], "algorithms": [self.key.algorithm], **self._policy}
        return Issuer.model_validate({"issuer": self.issuer, "audience": self.audience, **fields})

    def token(
        self,
        subject: str = "alice",
        *,
        scopes: Collection[str] = (),
        roles: Collection[str] | None = (),
        header: dict[str, object] | None = None,
        **claims: object,
    ) -> str:
        """Sign a token; `claims` replace what it would say by itself, those that are None are left out."""
        now = self._clock.now() // SECOND
        said: dict[str, object] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "iat": now,
            "exp": now + 3600,
            "jti": new_id(),
            "scope": " ".join(sorted(scopes)),
            "roles": None if roles is None else sorted(roles),
            **claims,
        }
        told = {name: value for name, value in said.items() if value is not None}
        return self.key.sign(told, {"typ": "at+jwt", **(header or {})})

    def headers(
        self, subject: str = "alice", *, scopes: Collection[str] = (), roles: Collection[str] = ()
    ) -> dict[str, str]:
        """Return the header that shows a token."""
        return {"authorization": f"Bearer {self.token(subject, scopes=scopes, roles=roles)}"}
