"""What an operator may say of callers, issuers and keys; mistakes are told with the fix, secrets never."""

import pytest
from pydantic import ValidationError

from forecourt import ApiKeys, ConfigError, Dpop, EndpointPolicy, Introspection, Issuer, JobConfig, Security
from forecourt.policies.issuer import DEVELOPMENT
from forecourt.policies.wording import Words, problems

SECRET = "a secret that nobody may see, ever"
ISSUER = {"issuer": "https://issuer.example", "audience": "a"}
KEYS = {**ISSUER, "jwks_url": "https://issuer.example/keys"}
RECORD = {"id": "abcdefghijkl", "hash": "0" * 64, "owner": "o"}


@pytest.mark.parametrize(
    ("model", "fields", "line"),
    [
        (Security, {"scopes": "read"}, 'must be a list of words, as in ["read"]'),
        (Security, {"scopes": 7}, "must be a list of words"),
        (Security, {"scopes": ["a b"]}, "must be words of visible ASCII without spaces"),
        (Security, {"public": True, "scopes": ["a"]}, "a public endpoint asks nothing of its callers"),
        (Security, {"anonymous": True, "roles": ["a"]}, "an anonymous caller has none of what roles asks for"),
        (Security, {"schemes": []}, "nobody could authenticate"),
        (Security, {"scope": ["a"]}, 'did you mean "scopes"?'),
        (Issuer, ISSUER, "there are no keys: give exactly one of"),
        (Issuer, {**KEYS, "secret": SECRET}, "jwks_url and secret are given: give exactly one of"),
        (Issuer, {"audience": "a", "secret": SECRET}, "issuer: must be given"),
        (Issuer, {**ISSUER, "jwks_url": "http://issuer.example/keys"}, "must begin with https://"),
        (Issuer, {**ISSUER, "jwks_url": "ftp://issuer.example/"}, "is not an address such as"),
        (Issuer, {**ISSUER, "jwks_url": "https://[bad/"}, "is not an address such as"),
        (Issuer, {**ISSUER, "jwks_url": "https://me:word@issuer.example/"}, "must not carry a user or a password"),
        (Issuer, {**ISSUER, "jwks_url": 7}, "must be an address such as"),
        (Issuer, {"issuer": "urn:issuer", "audience": "a", "discovery": True}, "the issuer must be an https address"),
        (Issuer, {**KEYS, "algorithms": ["HS256"]}, "it does not go with published keys"),
        (Issuer, {**ISSUER, "secret": SECRET, "algorithms": ["RS256"]}, "it does not go with a shared secret"),
        (Issuer, {**KEYS, "algorithms": ["RS255"]}, 'did you mean "RS256"?'),
        (Issuer, {**KEYS, "algorithms": "RS256"}, 'must be a list of algorithms, as in ["RS256"]'),
        (Issuer, {**ISSUER, "keys": 7}, "must be a key or a list of keys"),
        (Issuer, {**ISSUER, "keys": []}, "must hold a key"),
        (Issuer, {**ISSUER, "secret": 7}, "what was given is not shown"),
        (Issuer, {**KEYS, "audience": 7}, "must be text, or a list of texts"),
        (Issuer, {**KEYS, "audience": [7]}, "must be text, or a list of texts"),
        (Issuer, {**KEYS, "scopes_claim": []}, "must be the name of a claim"),
        (ApiKeys, {}, "there are no keys: give `keys`, a `file`, or `store = true`"),
        (ApiKeys, {"store": True, "pepper": "short"}, "must be at least 32 characters"),
        (ApiKeys, {"store": True, "header": "Authorization"}, "has a meaning of its own"),
        (ApiKeys, {"store": True, "header": "a b"}, "must be the name of a header"),
        (ApiKeys, {"store": True, "prefix": "_"}, "must be 1 to 16 letters and digits"),
        (ApiKeys, {"keys": [RECORD, RECORD]}, "the id abcdefghijkl is given twice"),
        (ApiKeys, {"keys": [{**RECORD, "hash": SECRET}]}, "must be 64 hexadecimal digits, never the key itself"),
        (ApiKeys, {"keys": [{**RECORD, "expires": "2030-01-01T00:00:00"}]}, "must say its time zone"),
    ],
)
def test_a_mistake_is_told(model: type[Words], fields: dict[str, object], line: str) -> None:
    """With the fix where there is one, and without what may be secret."""
    with pytest.raises(ValidationError) as raised:
        model.model_validate(fields)
    told = "\n".join(problems(raised.value))
    assert line in told
    assert SECRET not in told


def test_nothing_secret_is_shown() -> None:
    """Neither by an issuer, nor by introspection, nor by keys, nor by the config that holds them."""
    issuer = Issuer(issuer="https://a.example", audience="a", secret=SECRET)
    asked = Introspection(url="https://a.example", issuer="a", client_id="c", client_secret=SECRET)
    keys = ApiKeys(store=True, pepper=SECRET)
    config = JobConfig(endpoints={}, issuers=[issuer], introspection=asked, api_keys=keys)
    assert SECRET not in repr((issuer, asked, keys, config))
    assert issuer.allowed == {"HS256"}
    assert Issuer(audience="a", development=True).issuer == DEVELOPMENT


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"issuers": [KEYS, KEYS]}, 'issuers[1].issuer: "https://issuer.example" is not allowed: is given twice'),
        ({"authenticators": {"bearer": Dpop()}}, "is a scheme already"),
        ({"authenticators": {"mine": Dpop()}}, "must have `authenticate` and the text `challenge`"),
        ({"authenticators": 7}, "must be a table of Python objects"),
    ],
)
def test_a_config_that_cannot_be(fields: dict[str, object], line: str) -> None:
    """ConfigError names the place."""
    with pytest.raises(ConfigError) as raised:
        JobConfig(**{"endpoints": {}, **fields})  # type: ignore[arg-type]  # what is wrong with it is the point
    assert line in str(raised.value)


def test_a_field_is_switched_off_by_its_word() -> None:
    """`off` in an endpoint replaces the default's."""
    config = JobConfig(default=EndpointPolicy(security=Security()), endpoints={"a": EndpointPolicy(security="off")})
    assert [getattr(config.policy_for(name), "security", 0) for name in ("a", "b")] == [None, Security()]


@pytest.mark.parametrize("host", ["localhost", "LocalHost.", "127.0.0.1", "[::1]"])
def test_on_this_machine_keys_may_be_asked_for_in_plain(host: str) -> None:
    """By its name as by its addresses, for development; what only begins like one is elsewhere."""
    address = f"http://{host}:9000/keys"
    assert Issuer.model_validate({**ISSUER, "jwks_url": address}).jwks_url == address
    with pytest.raises(ValidationError):
        Issuer.model_validate({**ISSUER, "jwks_url": "http://localhost.example:9000/keys"})
