"""The compact form of a signed token, taken apart strictly before any key is looked at (RFC 7515 §3.1, RFC 8725).

Stricter than libraries are: base64url without padding and in its only form, so that one token is one text; JSON objects
without a name given twice and without NaN; no `crit`, as no extension is understood here; bounded size.
"""

import base64
import json
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

LONGEST = 16_384
"""Characters of a token; servers take no longer header fields anyway."""

_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)

Object = dict[str, object]


class Parts(NamedTuple):
    """A signed text: its header, what it carries, what was signed, and the signature; nothing of it is believed yet."""

    header: Object
    payload: bytes
    signed: bytes
    signature: bytes


class Compact(NamedTuple):
    """A token: the same, with claims that are a JSON object."""

    header: Object
    claims: Object
    signed: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        """The `alg`; empty where it is no text."""
        alg = self.header.get("alg")
        return alg if isinstance(alg, str) else ""

    @property
    def key_id(self) -> str | None:
        """The `kid`."""
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) else None


def compact(token: str) -> Compact | None:
    """Take a token apart; None when it is malformed in any way."""
    parted = parts(token)
    if parted is None:
        return None
    try:
        claims = json_object(parted.payload)
    except (ValueError, RecursionError):
        return None
    return Compact(parted.header, claims, parted.signed, parted.signature)


def parts(token: str) -> Parts | None:
    """Take a signed text apart, whatever it carries; None when it is malformed in any way."""
    if len(token) > LONGEST or not (form := _FORM.fullmatch(token)):
        return None
    try:
        header = json_object(decoded(form[1]))
        payload, signature = decoded(form[2]), decoded(form[3])
    except (ValueError, RecursionError):
        return None
    if "crit" in header or "b64" in header or not isinstance(header.get("kid", ""), str):
        return None
    return Parts(header, payload, token[: form.end(2)].encode(), signature)


def decoded(text: str) -> bytes:
    """Decode base64url without padding; ValueError where it is not the one form of what it encodes."""
    octets = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    if encoded(octets) != text:
        raise ValueError("another form of the same octets")
    return octets


def encoded(octets: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def json_object(octets: bytes) -> Object:
    """Parse a JSON object strictly; ValueError, or RecursionError for one nested too deeply."""
    parsed = json.loads(octets.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def _once(pairs: Sequence[tuple[str, object]]) -> Object:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a name is given twice")
    return read


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
