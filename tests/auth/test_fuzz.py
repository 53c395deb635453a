"""Hostile fields and tokens: 400, 401, 403, 503 or a correct accept, and nothing else; nothing of them is logged.

FORECOURT_EXAMPLES says how many times as many are tried; by default enough to see that it works.
"""

import asyncio
import base64
import json
import logging
import os
import random
import string
from collections.abc import Sequence

import pytest

from forecourt import ApiKeys, Dpop, Security
from forecourt.auth.compact import encoded
from forecourt.policies.api_keys import ApiKey
from tests.auth.service import Guarded
from tests.core.bench import examples

EXAMPLES = examples(3000)
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1.5, 1e300, 2**70, "", "a", "at+jwt", "JWT", "none", "HS256", "RS256", [], {}, [1], ["a"],
    {"a": 1}, [[[]]], "\u0000", "é", "https://issuer.example", "tests", ["tests"], 1_700_003_600, {"jkt": "x"},
)  # fmt: skip
NAMES = (
    "iss",
    "aud",
    "sub",
    "exp",
    "nbf",
    "iat",
    "jti",
    "scope",
    "scp",
    "roles",
    "cnf",
    "auth_time",
    "acr",
    "realm_access",
)
HEADERS = ("alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5u", "x5c", "cty", "zip", "enc", "nonce")


class Hostile:
    """Makes fields that no honest client sends, and a few that one does."""

    def __init__(self, service: Guarded, seed: int) -> None:
        self.service = service
        self.dice = random.Random(seed)
        self.honest = service.token(scopes={"s"})

    def fields(self) -> list[tuple[str, str]]:
        """Draw the fields of one call."""
        value = self.dice.choice((self.signed, self.signed, self.damaged, self.garbage, self.raw))()
        scheme = self.dice.choice(("Bearer ",) * 8 + ("bearer\t", "DPoP ", "Basic ", "", "Bearer"))
        drawn = [("authorization", scheme + value)]
        if self.dice.random() < 0.1:
            drawn.append((self.dice.choice(("authorization", "x-api-key", "dpop")), self.garbage()))
        if self.dice.random() < 0.05:
            drawn = [("x-api-key", self.dice.choice((self.garbage(), "fc_abcdefghijkl_" + self.garbage())))]
        return drawn

    def signed(self) -> str:
        """Sign strange claims under a strange header with the right key."""
        claims: dict[str, object] = {
            self.dice.choice(NAMES): self.dice.choice(VALUES) for _ in range(self.dice.randrange(4))
        }
        header: dict[str, object] = {
            self.dice.choice(HEADERS): self.dice.choice(VALUES) for _ in range(self.dice.randrange(3))
        }
        scopes = {"s"} if self.dice.random() < 0.5 else set()
        header.pop("kid", None) if self.dice.random() < 0.5 else None
        said = {
            "iss": self.service.issuer.issuer,
            "aud": "tests",
            "sub": "alice",
            "exp": 1_700_003_600,
            "scope": " ".join(scopes),
        }
        return self.service.issuer.key.sign({**said, **claims}, {"typ": "at+jwt", **header})

    def strange(self, names: Sequence[str], most: int) -> dict[str, object]:
        """Draw fewer than so many members."""
        return {self.dice.choice(names): self.dice.choice(VALUES) for _ in range(self.dice.randrange(most))}

    def damaged(self) -> str:
        """Damage an honest token in one place."""
        at = self.dice.randrange(len(self.honest))
        letter = self.dice.choice(string.ascii_letters + string.digits + "-_.=~ \t\x7f\xff")
        return self.honest[:at] + letter * self.dice.randrange(3) + self.honest[at + 1 :]

    def garbage(self) -> str:
        """Draw letters, or JSON that nests deeply."""
        if self.dice.random() < 0.02:
            deep = encoded(b"[" * 5_000)
            return f"{encoded(b'{}')}.{deep}.{deep}"
        return "".join(chr(self.dice.randrange(33, 256)) for _ in range(self.dice.randrange(60)))

    def raw(self) -> str:
        """Encode parts that are no JSON, JSON of other kinds, or JSON that gives a name twice."""
        parts = (
            b"",
            b"{}",
            b"null",
            b"7",
            b'{"alg":"HS256","alg":"none"}',
            b'{"exp":NaN}',
            b"\xff\xfe",
            b'{"alg":1e999}',
        )
        some = [base64.urlsafe_b64encode(self.dice.choice(parts)).decode() for _ in range(self.dice.randrange(1, 5))]
        return ".".join(part if self.dice.random() < 0.2 else part.rstrip("=") for part in some)


def honest(service: Guarded, fields: list[tuple[str, str]]) -> bool:
    """Judge a call naively: whether it shows exactly one token that PyJWT-like reading finds good."""
    fields = [field for field in fields if field[0] != "dpop"]  # which a token that is bound to no key does not need
    if len(fields) != 1 or fields[0][0] != "authorization":
        return False
    scheme, _, token = fields[0][1].partition(" ")
    head, body = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return (
        scheme.lower() == "bearer"
        and (head["alg"], head["typ"]) == ("HS256", "at+jwt")
        and body["iss"] == service.issuer.issuer
        and "tests" in body["aud"]
        and body["exp"] > 1_700_000_000
        and body.get("cnf") is None
        and "s" in str(body.get("scope") or body.get("scp"))
    )


def test_nothing_but_the_right_answers(caplog: pytest.LogCaptureFixture) -> None:
    """Of thousands of calls each ends in a status that it may, and an accept is one that a naive reader accepts."""
    service = Guarded(
        Security(scopes={"s"}),
        dpop=Dpop(),
        api_keys=ApiKeys(keys=(ApiKey(id="abcdefghijkl", hash="0" * 64, owner="o"),)),
    )
    hostile = Hostile(service, seed=int(os.environ.get("FORECOURT_SEED", "5")))
    statuses: dict[int, int] = {}
    caplog.set_level(logging.DEBUG, "forecourt")

    async def run() -> None:
        for _ in range(EXAMPLES):
            fields = hostile.fields()
            status = (await service.showing(fields)).status
            statuses[status] = statuses.get(status, 0) + 1
            if status == 200:
                assert honest(service, fields), fields

    asyncio.run(run())
    assert set(statuses) == {200, 400, 401, 403}
    assert caplog.records == []
