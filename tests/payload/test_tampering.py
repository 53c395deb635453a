"""Whatever is changed, cut off, swapped or made up does not open, and looks like any other failure."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt import Encryption
from forecourt.auth.compact import encoded
from forecourt.core.sealed import Unopened
from forecourt.payload.keys import opener, sealer
from tests.core.bench import examples
from tests.layers.sealed import Kind, Vault, private, public

KINDS: tuple[Kind, ...] = ("x25519", "p256", "rsa", "hpke", "hybrid")
HEADER: dict[str, object] = {"iat": 1_700_000_000}


def form_of(kind: Kind) -> str:
    """Return the format of this kind of key."""
    return "hpke" if kind in ("hpke", "hybrid") else "jwe"


def changed(message: bytes, step: int = 1) -> Iterator[bytes]:
    """Yield a message with every byte flipped, swapped with the next, and cut off there; and longer ones."""
    for at in range(0, len(message), step):
        yield message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
        yield message[:at]
        if at + 1 < len(message) and message[at] != message[at + 1]:
            yield message[:at] + bytes([message[at + 1], message[at]]) + message[at + 2 :]
    yield message + b"\0"
    yield message + message[-1:]


@pytest.mark.parametrize("kind", KINDS)
def test_no_changed_message_opens(kind: Kind) -> None:
    """Unopened, whatever was changed; more of them with FORECOURT_EXAMPLES."""
    own, form = private(kind, "service"), form_of(kind)
    opens = opener(form, [own])  # type: ignore[arg-type]  # one of its words
    message = sealer(form, public(own)).seal(HEADER, b"content")  # type: ignore[arg-type]
    assert opens.open(message).content == b"content"
    step = 1 if kind in ("x25519", "hpke") else max(1, len(message) // examples(60))
    for each in changed(message, step):
        with pytest.raises(Unopened):
            opens.open(each)


@pytest.mark.parametrize("kind", ["x25519", "hpke"])
async def test_every_failure_to_open_is_answered_alike(kind: Kind) -> None:
    """400, byte for byte the same, never a 500, and no handler has run."""
    service = Vault(Encryption(request="required", response="required", format=form_of(kind)), kind)  # type: ignore[arg-type]
    message = service.seal()
    answers = {(answer.status, answer.body) for answer in [await service.send(each) for each in changed(message, 3)]}
    strangers = [
        Vault(Encryption(request="required", format=form_of(kind)), kind).seal(htm="GET"),  # type: ignore[arg-type]
        sealer(service.form, public(private(kind, "stranger"))).seal(HEADER, b""),
        sealer(service.form, public({**private(kind, "stranger"), "kid": "service"})).seal(HEADER, b""),
        os.urandom(500),
        b"....",
        b"FCH1\xff\xff{}",
    ]
    answers |= {(answer.status, answer.body) for answer in [await service.send(each) for each in strangers]}
    ((status, _),) = answers
    assert status == 400
    assert service.bodies == []


@given(st.binary(max_size=300))
def test_rubbish_does_not_open(rubbish: bytes) -> None:
    """Of either format."""
    for kind in ("x25519", "hpke"):
        form = "jwe" if kind == "x25519" else "hpke"
        with pytest.raises(Unopened):
            opener(form, [private(kind, "service")]).open(rubbish)  # type: ignore[arg-type]


HEADERS = st.dictionaries(
    st.sampled_from(["alg", "enc", "kid", "epk", "zip", "crit", "p2c", "apu", "apv", "iat", "cty"]),
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["ECDH-ES", "dir", "A256GCM", "DEF", "service", "RSA1_5", "PBES2-HS256+A128KW", "none", ""])
    | st.dictionaries(st.sampled_from(["kty", "crv", "x", "y"]), st.sampled_from(["OKP", "X25519", "AAAA", "EC"]))
    | st.lists(st.text(max_size=3), max_size=2),
)


@given(HEADERS, st.lists(st.binary(max_size=20), min_size=3, max_size=5))
def test_made_up_headers_do_not_open(header: dict[str, object], parts: list[bytes]) -> None:
    """Whatever they say of algorithms and keys: no exception of a library, no key but ours."""
    import json

    text = ".".join(encoded(each) for each in (json.dumps(header).encode(), *parts)).encode()
    with pytest.raises(Unopened):
        opener("jwe", [private("x25519", "service")]).open(text)


def test_other_forms_of_the_same_octets() -> None:
    """Base64url has one form here: neither padding, nor other alphabets, nor other last bits."""
    own = private("x25519", "service")
    message = sealer("jwe", public(own)).seal(HEADER, b"some content")
    head, key, iv, text, tag = message.split(b".")
    assert len(tag) % 4 == 2, "a tag of 16 bytes leaves four bits of its last character unused"
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = letters[letters.index(tag[-1]) + 1 : letters.index(tag[-1]) + 2]
    for wrong in (tag + b"==", tag[:-1] + other, tag[:5] + b"\n" + tag[5:], tag.replace(b"-", b"+") + b"+"):
        with pytest.raises(Unopened):
            opener("jwe", [own]).open(b".".join((head, key, iv, text, wrong)))
    with pytest.raises(Unopened):
        opener("jwe", [own]).open(b".".join((head, b"AAAA", iv, text, tag)))
