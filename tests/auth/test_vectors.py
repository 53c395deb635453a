"""The JSON Web Signature vectors of Wycheproof: what must be refused is refused, what is valid and safe is accepted."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from forecourt.auth.compact import parts
from forecourt.auth.jose import WeakKeyError, imported
from forecourt.policies.issuer import ALGORITHMS

VECTORS = Path(__file__).parent.parent / "vectors" / "wycheproof" / "json_web_signature_test.json"

MISLABELLED = {367, 370}
"""Said to have wrong padding, but what stands there has none: one well-formed, rightly signed text, twice."""

STRICTER = {259, 264, 268, 272, 320, 325, 346, 347, 350, 351, 372, 373}
"""Valid by the vectors and refused here: nothing in it, which no token is; signed by another algorithm than the key's
own `alg` says; a `?` within the base64url."""


def vectors() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each test with the key of its group."""
    for group in json.loads(VECTORS.read_text("utf-8"))["testGroups"]:
        for test in group["tests"]:
            yield group.get("public") or group["private"], test


def accepted(key: Mapping[str, object], jws: object) -> bool:
    """Whether a signature counts: the form is strict, and the key allows the algorithm and verifies."""
    parsed = parts(jws) if isinstance(jws, str) else None
    if parsed is None or parsed.header.get("alg") not in ALGORITHMS:
        return False
    try:
        (verifying,) = imported(key)
    except WeakKeyError:
        return False
    kid = parsed.header.get("kid")
    if kid is not None and verifying.kid is not None and kid != verifying.kid:
        return False
    return verifying.verifies(str(parsed.header["alg"]), parsed.signed, parsed.signature)


def test_the_vectors_are_all_there() -> None:
    """401 of them, so that none is left out unseen."""
    assert len([*vectors()]) == 401


def test_nothing_invalid_is_accepted() -> None:
    """Every vector that is invalid is refused, without an exception."""
    wrong = [test["tcId"] for key, test in vectors() if test["result"] == "invalid" and accepted(key, test["jws"])]
    assert set(wrong) == MISLABELLED
    texts = {test["jws"] for _, test in vectors() if test["tcId"] in MISLABELLED}
    assert texts == {test["jws"].replace("?", "") for _, test in vectors() if test["tcId"] == 372}


def test_what_is_valid_is_accepted() -> None:
    """All but those for which we have a reason of our own."""
    refused = {test["tcId"] for key, test in vectors() if test["result"] == "valid" and not accepted(key, test["jws"])}
    assert refused == STRICTER


@pytest.mark.parametrize("source", ["", "rubbish", "{}", '{"kty":"oct"}', '{"keys": []}', "-----BEGIN PUBLIC KEY-----"])
def test_what_is_no_key_is_none(source: str) -> None:
    """WeakKeyError, with nothing of the key in it."""
    with pytest.raises(WeakKeyError) as raised:
        imported(source)
    assert source == "" or source not in str(raised.value)
