"""The keys that contents are sealed by: where they stand, and what must not stand there."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from forecourt import ConfigError, JobConfig, PayloadKeys
from forecourt.policies import ApiKey

PRIVATE = {"kty": "OKP", "crv": "X25519", "x": "eA", "d": "ZA", "kid": "one"}
PUBLIC = {name: value for name, value in PRIVATE.items() if name != "d"}


def wrong(**words: object) -> list[str]:
    """Return what is said of keys that cannot be used."""
    with pytest.raises(ValidationError) as caught:
        PayloadKeys.model_validate(words)
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in caught.value.errors()]


def test_keys_come_from_where_secrets_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable, a file, or bytes of Python; one key or a set of them."""
    (tmp_path / "keys").write_text(json.dumps({"keys": [PRIVATE, {**PRIVATE, "kid": "two"}]}))
    monkeypatch.setenv("OWN", json.dumps({**PRIVATE, "kid": "three"}))
    keys = PayloadKeys(own=[f"file:{tmp_path}/keys", "env:OWN", json.dumps({**PRIVATE, "kid": "four"}).encode()])
    assert [each["kid"] for each in keys.owned()] == ["one", "two", "three", "four"]
    assert "ZA" not in repr(keys)
    assert "ZA" not in str(keys.model_dump())


def test_a_file_of_policies_names_them_too(tmp_path: Path) -> None:
    """Paths are taken from where the file is; callers' public keys may stand in it."""
    (tmp_path / "own.jwk").write_text(json.dumps(PRIVATE))
    (tmp_path / "policies.toml").write_text(
        '[default]\n[payload_keys]\nown = ["file:own.jwk"]\n[payload_keys.callers.api-key]\n'
        'alice = {kty = "OKP", crv = "X25519", x = "eA"}\n'
    )
    keys = JobConfig.from_file(tmp_path / "policies.toml").payload_keys
    assert keys is not None
    assert [dict(each) for each in keys.owned()] == [PRIVATE]
    assert keys.table()["api-key", "alice"]["x"] == "eA"


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ("secret", 'own.0: inline text is not allowed: must be "env:NAME" or "file:path": secrets do not stand'),
        ({"kty": "OKP"}, "own.0: a value of type dict is not allowed"),
        (b"rubbish", "own.0: must be a JWK, or a JWK set, in JSON"),
        (b"\xff", "own.0: must be a JWK, or a JWK set, in JSON"),
        (b"[" * 100_000, "own.0: must be a JWK, or a JWK set, in JSON"),
        (b"[]", "own.0: must be a JWK, or a JWK set, in JSON"),
        (b'{"keys": []}', "own.0: must be a JWK, or a JWK set, in JSON"),
        (b'{"keys": 1}', "own.0: must be a JWK, or a JWK set, in JSON"),
        (b'{"kty": 1}', "own.0: must be a JWK, or a JWK set, in JSON"),
        (json.dumps(PUBLIC).encode(), "own.0: has no private part, so it opens nothing"),
    ],
)
def test_own_keys_that_are_none(own: object, sentence: str) -> None:
    """Each is told by its place; what it holds is not."""
    (told,) = wrong(own=own)
    assert told.startswith(sentence)


@pytest.mark.parametrize(
    ("callers", "sentence"),
    [
        ("alice", 'callers: "alice" is not allowed: must be a table of issuers'),
        ({"iss": "alice"}, "callers.iss: must be a table of subjects and their keys"),
        ({"iss": {"alice": PRIVATE}}, "callers.iss.alice: holds a private part, which must stay its owner's"),
        ({"iss": {"alice": {"x": "eA"}}}, "callers.iss.alice: must be a public JWK, a table with kty"),
        ({"iss": {"alice": json.dumps({"keys": [PUBLIC, PUBLIC]}).encode()}}, "callers.iss.alice: must be one key"),
        ({"iss": {"alice": json.dumps(PRIVATE).encode()}}, "callers.iss.alice: holds a private part"),
    ],
)
def test_callers_keys_that_are_none(callers: object, sentence: str) -> None:
    """Each is told by issuer and subject; a private key is nothing that a service should have of a caller."""
    (told,) = wrong(callers=callers)
    assert told.startswith(sentence)


def test_a_secret_that_is_shared_with_a_caller() -> None:
    """It may be kept elsewhere, as secrets are."""
    shared = {"kty": "oct", "k": "a" * 43}
    keys = PayloadKeys(callers={"iss": {"alice": json.dumps(shared).encode()}})
    assert dict(keys.table()["iss", "alice"]) == shared
    assert repr(keys) == "PayloadKeys(own=(), callers=<1 callers>)"
    (told,) = wrong(callers={"iss": {"alice": shared}})
    assert "holds a private part" in told


def test_callers_may_be_a_function() -> None:
    """Of Python only."""
    keys = PayloadKeys(callers=lambda _: PUBLIC)
    assert (keys.function is not None, keys.table()) == (True, {})
    assert PayloadKeys().function is None


def test_the_record_of_an_api_key_may_hold_one() -> None:
    """A public one; it is not shown."""
    record = ApiKey(id="a" * 12, hash="0" * 64, owner="alice", encryption_key=PUBLIC)
    assert "eA" not in repr(record)
    with pytest.raises(ValidationError, match="holds a private part"):
        ApiKey(id="a" * 12, hash="0" * 64, owner="alice", encryption_key=PRIVATE)


def test_a_config_tells_all_of_it() -> None:
    """By the whole place."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(payload_keys={"own": [b"rubbish"], "callers": {"iss": 1}})  # type: ignore[arg-type]  # as a file has it
    assert list(caught.value.problems) == [
        "payload_keys.own[0]: must be a JWK, or a JWK set, in JSON",
        "payload_keys.callers.iss: must be a table of subjects and their keys",
    ]
