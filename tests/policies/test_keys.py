"""The key ring: named secrets, never inline ones, and what they sign."""

from pathlib import Path

import pytest

from forecourt import ConfigError, JobConfig
from forecourt.policies.keys import KeyRing

SECRET = "s" * 32


def test_secrets_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From a variable, from a file, or as bytes; the ring shows none of them."""
    monkeypatch.setenv("KEY", SECRET)
    (tmp_path / "key").write_text("f" * 32 + "\n")
    config = JobConfig(keys=["env:KEY", f"file:{tmp_path / 'key'}", b"b" * 32])
    assert repr(config.keys) == "<KeyRing of 3>"
    assert config.key_ring is not None
    name, signature = config.key_ring.sign("job envelope", b"text")
    assert KeyRing([SECRET.encode()]).sign("job envelope", b"text") == (name, signature)
    assert config.key_ring.verify("job envelope", name, signature, b"text")
    assert not config.key_ring.verify("job id", name, signature, b"text")
    assert not config.key_ring.verify("job envelope", "unknown", signature, b"text")
    assert SECRET not in repr(config)


def test_a_file_names_them_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A config file's `env:` is read by the file, and is no inline text."""
    monkeypatch.setenv("KEY", SECRET)
    path = tmp_path / "policies.toml"
    path.write_text('keys = ["env:KEY"]\n')
    assert repr(JobConfig.from_file(path).keys) == "<KeyRing of 1>"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["plain text of a secret, long enough"], 'keys[0]: inline text is not allowed: must be "env:NAME"'),
        (["env:NOT_THERE"], "keys[0]: environment variable NOT_THERE is not set"),
        (["file:/not/there"], 'keys[0]: file "/not/there" cannot be read'),
        ([b"short"], "keys[0]: a secret of 5 bytes is not allowed: must have at least 32"),
        ([5], "keys[0]: a value of type int is not allowed"),
        ([], "the list of keys is empty"),
    ],
)
def test_what_cannot_be_a_key_is_told(keys: object, said: str) -> None:
    """The error says where and what, and never the secret."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(keys=keys)  # type: ignore[arg-type]  # the mistake under test
    assert said in str(caught.value)
    assert "plain text" not in str(caught.value)
