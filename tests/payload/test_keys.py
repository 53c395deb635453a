"""Whose key an answer is sealed to: the record of an API key, a function, or the table; never one that was sent."""

import json
import logging
from pathlib import Path

import pytest

from forecourt import (
    ApiKeys,
    Encryption,
    EndpointPolicy,
    JobConfig,
    PayloadKeys,
    PolicyMiddleware,
    Principal,
    Security,
)
from forecourt.cli import main
from forecourt.key_book import FileBook, create, rotate
from forecourt.payload.keys import Keyring, opener
from forecourt.policies.payload_keys import Jwk
from tests.asgi import call, http
from tests.layers.sealed import private, public
from tests.services import text

ALICE = Principal("iss", "alice")


def keyring(callers: object, own: object = ()) -> Keyring:
    """Return the keys of a config."""
    return Keyring(PayloadKeys.model_validate({"callers": callers, "own": own}))


def test_nobody_has_no_key() -> None:
    """Nor has a caller who is not in the table, or of another issuer."""
    keys = keyring({"iss": {"alice": public(private("x25519", "alice"))}})
    assert keys.sealer("jwe", ALICE) is keys.sealer("jwe", ALICE) is not None
    assert keys.sealer("jwe", None) is None
    assert keys.sealer("jwe", Principal("iss", "bob")) is None
    assert keys.sealer("jwe", Principal("other", "alice")) is None


def test_a_function_says_keys(caplog: pytest.LogCaptureFixture) -> None:
    """One that is of no use is none, and the log says why; what it is, it does not."""

    def key(principal: Principal) -> Jwk | None:
        known: dict[str, Jwk] = {
            "alice": public(private("p256", "alice")),
            "bob": {"kty": "OKP", "crv": "Ed25519", "x": "PLANTED"},
        }
        return known.get(principal.subject)

    keys = keyring(key)
    assert keys.sealer("jwe", ALICE) is not None
    with caplog.at_level(logging.WARNING):
        assert keys.sealer("jwe", Principal("iss", "bob")) is None
        assert keys.sealer("jwe", Principal("iss", "bob")) is None
    assert keys.sealer("jwe", Principal("iss", "carol")) is None
    assert len(caplog.records) == 1
    assert "PLANTED" not in caplog.text


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is made again."""
    monkeypatch.setattr("forecourt.payload.keys._MOST_KNOWN", 1)
    keys = keyring({"iss": {name: public(private("x25519", name)) for name in ("alice", "bob")}})
    first = keys.sealer("jwe", ALICE)
    assert keys.sealer("jwe", Principal("iss", "bob")) is not None
    assert keys.sealer("jwe", ALICE) is not first


async def test_the_record_of_an_api_key_goes_first(tmp_path: Path) -> None:
    """It is kept through a rotation of the key, made by the command too, and answers are sealed to it."""
    own = private("x25519", "own-of-key")
    (tmp_path / "pub").write_text(json.dumps(public(own)))
    policy = ApiKeys(file=str(tmp_path / "keys.json"))
    book = FileBook(tmp_path / "keys.json")
    _, record = await create(book, policy, "alice", encryption_key=public(own))
    shown, renewed = await rotate(book, policy, record.id)
    assert renewed.encryption_key == public(own)
    config = JobConfig(
        api_keys=policy,
        payload_keys=PayloadKeys(callers={"api-key": {"alice": public(private("x25519", "alice"))}}),
        default=EndpointPolicy(security=Security(), encryption=Encryption(response="required")),
        routes={"any": "/{path:path}"},
    )
    app = PolicyMiddleware(_answering, config=config)
    answer = await call(app, http("/", headers=[(b"x-api-key", shown.encode())]))
    assert answer.status == 200
    assert opener("jwe", [own]).open(answer.body).content == b"done"


async def _answering(scope: object, receive: object, send: object) -> None:
    from starlette.requests import Request

    response = await text(Request({"type": "http"}))
    await response(scope, receive, send)  # type: ignore[arg-type]  # as ASGI has them


def test_the_command_takes_a_public_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And refuses a private one."""
    (tmp_path / "policies.toml").write_text('[default]\n[api_keys]\nfile = "keys.json"\n')
    (tmp_path / "keys.json").write_text("[]")
    for name, jwk in (("pub", public(private("x25519", "a"))), ("priv", private("x25519", "a"))):
        (tmp_path / name).write_text(json.dumps(jwk))
    made = ["keys", "create", "alice", "--config", str(tmp_path / "policies.toml"), "--encryption-key"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main([*made, "pub"]) == 0
        assert json.loads((tmp_path / "keys.json").read_text())[0]["encryption_key"]["crv"] == "X25519"
        assert main([*made, "priv"]) == 2
    assert "holds a private part" in capsys.readouterr().err


def test_a_service_may_have_several_keys() -> None:
    """All open; without a `kid` only where there is one."""
    old, new = private("x25519", "old"), private("p256", "new")
    both, alone = opener("jwe", [old, new]), opener("jwe", [new])
    from joserfc import jwe
    from joserfc.jwk import import_key

    nameless = jwe.encrypt_compact({"alg": "ECDH-ES", "enc": "A256GCM"}, b"content", import_key(public(new)))  # type: ignore[arg-type]
    assert alone.open(nameless.encode()).content == b"content"
    with pytest.raises(ValueError, match="cannot be opened"):
        both.open(nameless.encode())
