"""What a config must have so that records can be sealed."""

import sys

import pytest

from forecourt import ConfigError, Encryption, EndpointPolicy, JobConfig
from forecourt.policies.keys import KeyRing
from forecourt.sealing import at_rest, seal_by, seal_of, seal_of_default

AT_REST = EndpointPolicy(encryption=Encryption(at_rest=True))
KEYS = [b"k" * 32]


def test_at_rest_needs_keys() -> None:
    """Each place that asks for it is named, with what to say."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(default=AT_REST, endpoints={"a": AT_REST, "b": EndpointPolicy(encryption=Encryption())})
    need = 'encryption.at_rest: records are sealed by keys: say keys=["env:NAME"], 32 bytes or more'
    assert list(caught.value.problems) == [f"default.{need}", f'endpoints."a".{need}']


@pytest.mark.parametrize("absent", ["spec", "module"])
def test_at_rest_needs_its_extra(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `cryptography` the start says how to get it."""
    if absent == "spec":
        monkeypatch.setattr("forecourt.config_encryption.find_spec", lambda _: None)
    else:
        monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError) as caught:
        JobConfig(endpoints={"a": AT_REST}, keys=KEYS)
    need = "needs cryptography: pip install 'forecourt[encryption]'"
    assert list(caught.value.problems) == [f'endpoints."a".encryption.at_rest: {need}']


def test_sealing_without_its_extra_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an ImportError from somewhere."""
    monkeypatch.setitem(sys.modules, "forecourt.ciphers", None)
    with pytest.raises(ConfigError, match=r"encryption: needs cryptography"):
        seal_by(KeyRing(KEYS), "cache", "a")


def test_who_asks_for_it() -> None:
    """An endpoint by its own policy or the default's; what is of no endpoint, by the default's."""
    config = JobConfig(default=AT_REST, endpoints={"a": EndpointPolicy(encryption="off")}, keys=KEYS)
    assert [at_rest(config, name) for name in "ab"] == [False, True]
    assert seal_of(config, "cache", "a") is None
    assert seal_of(config, "cache", "b") is not None
    assert seal_of_default(config, "value") is not None
    none = JobConfig(endpoints={"a": AT_REST}, keys=KEYS)
    assert seal_of_default(none, "value") is None
    assert not at_rest(none, "b")
    assert seal_of_default(JobConfig(default=EndpointPolicy(encryption="off")), "value") is None


def test_keys_may_come_from_a_function() -> None:
    """It is asked once, when the config is made; a file names keys by env: and file: only."""
    asked = []

    def provider() -> list[bytes]:
        asked.append(1)
        return KEYS

    config = JobConfig(keys=provider)
    assert config.key_ring is not None
    assert config.key_ring.ids() == KeyRing(KEYS).ids()
    assert asked == [1]


@pytest.mark.parametrize(
    ("provider", "sentence"),
    [
        (lambda: b"k" * 32, "keys: its provider must return a list of bytes"),
        (lambda: ["env:KEY"], "keys: its provider must return a list of bytes"),
        (lambda: None, "keys: its provider must return a list of bytes"),
        (list, "keys: the list of keys is empty; leave the field out, or name one"),
        (lambda: [b"short"], "keys[0]: a secret of 5 bytes is not allowed: must have at least 32"),
        (lambda: 1 // 0, "keys: its provider raised ZeroDivisionError"),
    ],
)
def test_a_function_that_returns_no_keys(provider: object, sentence: str) -> None:
    """It is told what it must return; nothing of what it returned is shown."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(keys=provider)  # type: ignore[arg-type]  # wrong on purpose
    assert list(caught.value.problems) == [sentence]


def test_the_field_takes_its_model_or_off() -> None:
    """Words of it that are not known are refused."""
    with pytest.raises(ConfigError, match=r'encryption.at_rst: unknown word; did you mean "at_rest"\?'):
        JobConfig(endpoints={"a": {"encryption": {"at_rst": True}}})  # type: ignore[dict-item]  # as a file has it
