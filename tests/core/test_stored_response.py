"""The binary form of a kept response: what goes in comes out, and nothing else is believed."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecourt.core.stored_response import MOST_FIELD_BYTES, MOST_FIELDS, StoredResponse, decode, encode
from tests.core.bench import examples

responses = st.builds(
    StoredResponse,
    status=st.integers(100, 999),
    headers=st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=8).map(tuple),
    body=st.binary(max_size=300),
    created=st.integers(0, 2**63 - 1),
    flags=st.integers(0, 2**16 - 1),
)

REPLY = StoredResponse(
    201, ((b"location", b"/records/1"), (b"link", b"</a>"), (b"link", b"</b>")), b"\x00made\xff", 7, 5
)


@given(response=responses)
@settings(max_examples=examples(200), deadline=None)
def test_what_goes_in_comes_out(response: StoredResponse) -> None:
    """Any status, fields with their order and repetitions, any bytes of a body, time and flags."""
    assert decode(encode(response)) == response


def test_the_form_is_what_the_module_says() -> None:
    """A reader of another version of this library must find the same bytes."""
    assert encode(StoredResponse(200, ((b"a", b"bc"),), b"body", 258, 3)) == (
        b"FR\x01\x00\x00\x03\x00\xc8" + (258).to_bytes(8) + b"\x00\x01\x00\x00\x00\x09\x00\x01\x00\x00\x00\x02abcbody"
    )


@pytest.mark.parametrize("size", range(len(encode(REPLY)) - len(REPLY.body)))
def test_what_was_cut_off_is_not_believed(size: int) -> None:
    """At any byte before the body; how long the body was, whoever stores it knows."""
    with pytest.raises(ValueError, match=r"stored response"):
        decode(encode(REPLY)[:size])


@given(at=st.integers(0, len(encode(REPLY)) - 1), byte=st.integers(0, 255))
@settings(max_examples=examples(300), deadline=None)
def test_damage_is_a_value_error_or_another_response(at: int, byte: int) -> None:
    """Never another exception, and never bytes from beyond what was kept."""
    kept = bytearray(encode(REPLY))
    kept[at] = byte
    try:
        read = decode(bytes(kept))
    except ValueError:
        return
    assert sum(len(name) + len(value) for name, value in read.headers) + len(read.body) <= len(kept)


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"FR\x02" + encode(REPLY)[3:],
        b"FR\x01\x01" + encode(REPLY)[4:],
        b"\x80\x04" + encode(REPLY)[2:],
        encode(REPLY)[:6] + b"\x00\x63" + encode(REPLY)[8:],
        encode(REPLY)[:8] + b"\xff" * 8 + encode(REPLY)[16:],
        encode(REPLY)[:16] + struct.pack(">HI", 1, 0) + encode(REPLY)[22:],
        encode(REPLY)[:16] + struct.pack(">HI", MOST_FIELDS + 1, 8) + encode(REPLY)[22:],
        encode(REPLY)[:16] + struct.pack(">HI", 3, MOST_FIELD_BYTES + 1) + b"\x00" * MOST_FIELD_BYTES * 2,
        encode(REPLY)[:16] + struct.pack(">HI", 2, 60) + encode(REPLY)[22:],
    ],
)
def test_what_another_wrote_is_not_believed(kept: bytes) -> None:
    """Other versions, other formats, numbers out of range, counts that do not fit."""
    with pytest.raises(ValueError, match=r"stored response"):
        decode(kept)


@pytest.mark.parametrize(
    "response",
    [
        REPLY._replace(status=99),
        REPLY._replace(status=1000),
        REPLY._replace(flags=-1),
        REPLY._replace(flags=1 << 16),
        REPLY._replace(created=-1),
        REPLY._replace(created=1 << 63),
        REPLY._replace(headers=((b"n", b"v"),) * (MOST_FIELDS + 1)),
        REPLY._replace(headers=((b"n" * 65_536, b"v"),)),
        REPLY._replace(headers=((b"n", b"v" * (MOST_FIELD_BYTES + 1)),)),
        REPLY._replace(headers=((b"n", b"v" * MOST_FIELD_BYTES),)),
    ],
)
def test_what_cannot_be_kept_is_refused(response: StoredResponse) -> None:
    """Before anything is written."""
    with pytest.raises(ValueError, match=r"too (many|long)|out of range"):
        encode(response)
