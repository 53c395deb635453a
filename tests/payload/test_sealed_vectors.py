"""The vectors that the docs give to people of other languages: they open to what they say, and to nothing else."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from forecourt.core.idempotency_fields import Pointer
from forecourt.core.payload import Call, Header, Terms, check_answer, check_request
from forecourt.core.sealed import Unopened
from forecourt.payload.contents import Contents
from forecourt.payload.keys import opener

VECTORS = json.loads((Path(__file__).parents[2] / "docs" / "vectors" / "sealed-contents.json").read_text("utf-8"))
TERMS = Terms(300)


def message(vector: dict[str, Any], which: str) -> bytes:
    """Return what goes over the wire."""
    sealed: str = vector[which]["sealed"]
    return base64.b64decode(sealed) if vector["binary_as_base64"] else sealed.encode()


@pytest.mark.parametrize(
    "vector", VECTORS, ids=lambda each: f"{each['format']}-{each['way']}-{each['service_key']['kty']}"
)
def test_a_vector_opens(vector: dict[str, Any]) -> None:
    """Request and answer, for the call that they are of; at another time they do not."""
    contents = Contents(vector["format"], vector.get("member"), tuple(map(Pointer.parse, vector.get("fields", ()))))
    call = Call(vector["method"], vector["target"].encode())

    def of_request(header: Header, pointer: str | None) -> None:
        check_request(header, call, TERMS, vector["time"] + late, pointer)

    def of_answer(header: Header, pointer: str | None) -> None:
        check_answer(
            header,
            call,
            TERMS,
            vector["time"] + late,
            request_id=vector["id"],
            status=vector["status"],
            pointer=pointer,
        )

    for which, key, check in (("request", "service_key", of_request), ("answer", "caller_key", of_answer)):
        assert contents.takes(vector[which]["content_type"].encode())
        opens = opener(vector["format"], [vector[key]])
        late = 0
        inside = contents.open(opens, message(vector, which), check)
        assert inside.content.decode() == vector[which]["plaintext"]
        late = 301
        with pytest.raises(Unopened):
            contents.open(opens, message(vector, which), check)


def test_they_show_every_way() -> None:
    """Each format, each way that it has, each kind of key."""
    shown = {(each["format"], each["way"], each["service_key"]["kty"]) for each in VECTORS}
    assert shown == {
        ("jwe", "whole", "OKP"),
        ("jwe", "fields", "OKP"),
        ("jwe", "member", "OKP"),
        ("jwe", "whole", "EC"),
        ("jwe", "whole", "RSA"),
        ("hpke", "whole", "OKP"),
        ("hpke", "fields", "OKP"),
        ("hpke", "whole", "AKP"),
    }
