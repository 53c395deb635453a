"""What a config must have so that records can be sealed."""

import sys

import pytest
from starlette.routing import Route, WebSocketRoute

from forecourt import ConfigError, Encryption, EndpointPolicy, JobConfig, PayloadKeys
from forecourt.config_policies import EndpointProtocol
from forecourt.payload.keys import generated, sealer
from forecourt.policies.keys import KeyRing
from forecourt.sealing import at_rest, seal_by, seal_of, seal_of_default
from tests.asgi import get
from tests.layers.sealed import as_bytes, private, public
from tests.services import echo, starlette, text

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


def sealed(**words: object) -> EndpointPolicy:
    """Return a policy whose contents are sealed from end to end."""
    return EndpointPolicy(encryption=Encryption.model_validate(words))


def told(**config: object) -> list[str]:
    """Return what is said of a config."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(**config)  # type: ignore[arg-type]  # its own words
    return list(caught.value.problems)


def test_contents_need_keys() -> None:
    """Each place and way is named, with what to say."""
    own = 'contents are sealed to the service\'s own keys: say payload_keys = {own = ["file:path"]}'
    callers = "answers are sealed to callers' keys: say payload_keys = {callers = {…}}, or give api_keys"
    both = sealed(request="required", response="optional")
    assert told(default=both, endpoints={"a": sealed(request="optional")}) == [
        f"default.encryption.request: {own}",
        f"default.encryption.response: {callers}",
        f'endpoints."a".encryption.request: {own}',
    ]
    answers = sealed(response="required")
    assert JobConfig(default=answers, payload_keys=PayloadKeys(callers=lambda _: None)).keyring is not None


def test_own_keys_must_open_the_format() -> None:
    """The reason is told, and nothing of the key."""
    form = "default.encryption.request: payload_keys.own: no key that opens messages of format "
    signing = as_bytes({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "SECRET", "kid": "s"})
    rsa = as_bytes(private("rsa", "r"))
    required = sealed(request="required")
    assert told(default=required, payload_keys=PayloadKeys(own=[])) == [form + "jwe: there are none"]
    assert told(default=required, payload_keys=PayloadKeys(own=[signing])) == [
        form + "jwe: it is not a key that is understood"
    ]
    hybrid = sealed(request="required", format="hpke")
    assert told(default=hybrid, payload_keys=PayloadKeys(own=[rsa])) == [
        form + "hpke: it must be OKP of X25519, or AKP of MLKEM768-X25519"
    ]
    both = PayloadKeys(own=[signing, rsa, as_bytes(private("hybrid", "h"))])
    JobConfig(endpoints={"a": required, "b": hybrid}, payload_keys=both)


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        ({**public(private("x25519", "a")), "use": "sig"}, "it is not meant to encrypt: see its use and key_ops"),
        (
            {"kty": "OKP", "crv": "X25519", "x": private("x25519", "a")["x"], "key_ops": ["sign"]},
            "it is not meant to encrypt: see its use and key_ops",
        ),
        (
            {**public(private("x25519", "a")), "alg": "RSA-OAEP"},
            "its alg is RSA-OAEP: ECDH-ES, ECDH-ES+A256KW, ECDH-ES",
        ),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "it is not a key that is understood"),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "it is"),
    ],
)
def test_callers_keys_must_be_fit_for_a_format(jwk: dict[str, object], reason: str) -> None:
    """Those in the table are looked at when the config is made."""
    keys = PayloadKeys(callers={"iss": {"alice": jwk, "bob": public(private("p256", "b"))}})
    (line,) = told(default=sealed(response="required"), payload_keys=keys)
    assert line.startswith(f'payload_keys.callers."iss"."alice": of no use: {reason}')


def test_formats_need_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start says which, and how to get it."""
    keys = PayloadKeys(own=[as_bytes(private("x25519", "a"))])
    for form, need in (("jwe", "joserfc: pip install"), ("hpke", "cryptography 48 or later: pip install -U")):
        monkeypatch.setitem(sys.modules, f"forecourt.payload.{form}", None)
        monkeypatch.delattr(f"forecourt.payload.{form}")
        (line,) = told(default=sealed(request="required", format=form), payload_keys=keys)
        assert line == f"default.encryption.request: encryption: format {form} needs {need} 'forecourt[encryption]'"
        with pytest.raises(ConfigError, match=f"format {form} needs"):
            sealer("jwe" if form == "jwe" else "hpke", public(private("x25519", "a")))
        with pytest.raises(ConfigError, match=f"format {form} needs"):
            generated("p256" if form == "jwe" else "hybrid", "a")


def test_two_keys_of_one_id_do_not_go_together() -> None:
    """Nobody could tell which one opens."""
    keys = PayloadKeys(own=[as_bytes(private("x25519", "a"), private("p256", "a"))])
    (line,) = told(default=sealed(request="required"), payload_keys=keys)
    assert line.endswith('payload_keys.own: two keys have the id "a"')


async def start(policy: EndpointPolicy, path: str = "a", **policies: EndpointPolicy) -> list[str]:
    """Return what a start says of an app with `a` and the WebSocket `echo`."""
    keys = PayloadKeys(callers=lambda _: None, own=[as_bytes(private("x25519", "a"))])
    config = JobConfig(default=policy, endpoints=policies, payload_keys=keys)
    routes = [Route("/a", text, name="a"), WebSocketRoute("/echo", echo, name="echo")]
    try:
        await get(starlette(config, *routes), "/a")
    except ConfigError as error:
        return list(error.problems)
    return []


async def test_answers_are_sealed_for_somebody() -> None:
    """Where nobody is known to be calling, the start says so; requests may be sealed by anybody."""
    answers = sealed(response="required")
    assert await start(answers) == [
        (
            'encryption.response of default: endpoint "a" knows no caller to seal for; give it security,'
            " or say encryption off"
        )
    ]
    assert await start(sealed(request="required")) == []


async def test_messages_of_websockets_are_not_sealed() -> None:
    """Of an endpoint's own policy it is told; a default's is skipped."""
    assert await start(EndpointPolicy(), echo=sealed(request="required")) == [
        'encryption of endpoint "echo": echo is a WebSocket; its messages are not sealed'
    ]


async def test_sealing_needs_its_layer() -> None:
    """A stack without it would let contents pass in plain; at rest it is not asked for."""
    keys = PayloadKeys(own=[as_bytes(private("x25519", "a"))])
    for policy, wrong in ((sealed(request="required"), 1), (AT_REST, 0)):
        config = JobConfig(default=policy, payload_keys=keys, keys=KEYS)
        assert len(config.check([Plain()], ["security"])) == wrong


class Plain:
    """An endpoint of an app."""

    name, path, methods, handler = "a", "/a", frozenset({"GET"}), None
    protocol: EndpointProtocol = "http"
