"""What a sealed message says of itself: held to its call, and framed so that no two frames are one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.payload import (
    MOST_HEADER,
    Call,
    Header,
    Terms,
    check_answer,
    check_request,
    framed,
    info,
    of_answer,
    of_request,
    path_hash,
    text_of,
    unframed,
)
from forecourt.core.sealed import Unopened

NOW = 1_700_000_000
CALL = Call("POST", b"/a?b=c", "alice")
TERMS = Terms(300)


def test_a_request_is_held_to_its_call() -> None:
    """What one side writes the other takes; each member is needed for that."""
    header = of_request(CALL, NOW, "id", "text/plain", pointer="/a")
    bound = {"iat": NOW, "htm": "POST", "pth": path_hash(CALL.target), "ptr": "/a", "jti": "id", "sub": "alice"}
    assert header == {"cty": "text/plain", **bound}
    check_request(header, CALL, TERMS, NOW + 300, "/a")
    for name in ("iat", "htm", "pth", "ptr", "jti"):
        with pytest.raises(Unopened):
            check_request({key: value for key, value in header.items() if key != name}, CALL, TERMS, NOW, "/a")
    for other in (Call("PUT", CALL.target, "alice"), Call("POST", b"/a", "alice"), Call("POST", CALL.target, "bob")):
        with pytest.raises(Unopened):
            check_request(header, other, TERMS, NOW, "/a")


def test_an_answer_is_held_to_its_request() -> None:
    """By the id that it was asked with, and the status that it has."""
    header = of_answer(CALL, NOW, "id", 201, "")
    assert "cty" not in header
    check_answer(header, CALL, TERMS, NOW, request_id="id", status=201)
    for request_id, status, late in (("other", 201, 0), (None, 201, 0), ("id", 200, 0), ("id", 201, 301)):
        with pytest.raises(Unopened):
            check_answer(header, CALL, TERMS, NOW + late, request_id=request_id, status=status)
    unasked = of_answer(CALL, NOW, None, 200, "")
    check_answer(unasked, CALL, TERMS, NOW, request_id=None, status=200)


def test_no_answer_passes_for_a_request_or_the_other_way() -> None:
    """Whoever has both keys cannot be told one for the other."""
    with pytest.raises(Unopened):
        check_request({**of_answer(CALL, NOW, None, 200, ""), "jti": "id"}, CALL, TERMS, NOW)
    with pytest.raises(Unopened):
        check_answer(of_request(CALL, NOW, "id", ""), CALL, TERMS, NOW, request_id=None, status=200)


@pytest.mark.parametrize("given_", [{"htm": "POST"}, {"pth": path_hash(CALL.target)}, {"htm": "PUT", "pth": ""}])
def test_without_binding_half_of_it_is_none(given_: Header) -> None:
    """Nothing of it, or all."""
    loose = Terms(300, bound=False)
    check_request({"iat": NOW}, CALL, loose, NOW)
    with pytest.raises(Unopened):
        check_request({"iat": NOW, **given_}, CALL, loose, NOW)


def test_texts() -> None:
    """One line of visible ASCII, or nothing."""
    assert text_of({"cty": "text/plain; charset=utf-8"}, "cty") == "text/plain; charset=utf-8"
    assert text_of({}, "cty") is None
    for wrong in (1, "ä", "a\nb", "\0"):
        with pytest.raises(Unopened):
            text_of({"cty": wrong}, "cty")


@given(st.binary(max_size=MOST_HEADER), st.binary(max_size=100))
def test_frames(header: bytes, text: bytes) -> None:
    """What was framed is found again; the beginning is what a message is bound to."""
    beginning = framed(header)
    assert unframed(beginning + text) == (beginning, header, text)
    assert info(beginning) == b"forecourt hpke 1 " + beginning


@given(st.binary(max_size=40))
def test_rubbish_is_no_frame(rubbish: bytes) -> None:
    """Unless it begins as one, and is as long as it says."""
    with pytest.raises(Unopened):
        unframed(rubbish.replace(b"FCH1", b""))
    with pytest.raises(Unopened):
        unframed(b"FCH1" + struct.pack(">H", len(rubbish) + 1) + rubbish)


def test_headers_have_a_bound() -> None:
    """Both ways."""
    with pytest.raises(ValueError, match="4096 at most"):
        framed(b"x" * (MOST_HEADER + 1))
    long = b"FCH1" + struct.pack(">H", MOST_HEADER + 1) + b"x" * 9000
    with pytest.raises(Unopened):
        unframed(long)


def test_hashes_are_of_bytes() -> None:
    """As they were sent, not as they are meant."""
    assert path_hash(b"/a%2Fb") != path_hash(b"/a/b")
    assert len(path_hash(b"")) == 43
