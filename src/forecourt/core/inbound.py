"""Signatures of webhooks that come in: what is signed, by which scheme, and whether it is right.

    standard   Standard Webhooks 1.0: HMAC-SHA256 of `id.timestamp.body`, base64, in `webhook-signature`
    github     HMAC-SHA256 of the body, hexadecimal, in `x-hub-signature-256`
    stripe     HMAC-SHA256 of `t.body`, hexadecimal, as `v1` in `stripe-signature`, beside `t`

Each may carry several signatures or be signed by one of several secrets, while one is rotated: one that is right is
enough. GitHub's has no time, and its delivery's id is not signed, so what is known again there is the signature itself.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

Scheme = Literal["standard", "github", "stripe"]

_LONGEST_ID = 200
_MOST_SIGNATURES = 16
_MOST_DIGITS = 12


class Signed(NamedTuple):
    """What a request's fields say: by which id it is known again, when it was signed (s; None: not said), and how.

    `prefix` stands before the body in what is signed.
    """

    id: str
    at: int | None
    prefix: bytes
    signatures: tuple[bytes, ...]

    def fresh(self, now: int, tolerance: int) -> bool:
        """Return whether it was signed no longer before or after `now` than the tolerance, all in seconds."""
        return self.at is None or abs(now - self.at) <= tolerance

    def by(self, secrets: Iterable[bytes], body: bytes) -> bool:
        """Return whether one of these secrets made one of the signatures; the time it takes does not say which."""
        found = False
        for secret in secrets:
            expected = hmac.digest(secret, self.prefix + body, "sha256")
            for signature in self.signatures:
                found |= hmac.compare_digest(expected, signature)
        return found


def read(scheme: Scheme, fields: Mapping[bytes, bytes]) -> Signed | None:
    """Return what the fields of a request say; None where they are missing or cannot be read."""
    return _READERS[scheme](fields)


def _standard(fields: Mapping[bytes, bytes]) -> Signed | None:
    name, at = fields.get(b"webhook-id", b""), fields.get(b"webhook-timestamp", b"")
    listed = fields.get(b"webhook-signature", b"").split()[:_MOST_SIGNATURES]
    signatures = _decoded([each[3:] for each in listed if each.startswith(b"v1,")])
    if not 0 < len(name) <= _LONGEST_ID or not _is_time(at) or not signatures:
        return None
    return Signed(name.decode("latin-1"), int(at), b"%b.%b." % (name, at), signatures)


def _github(fields: Mapping[bytes, bytes]) -> Signed | None:
    scheme, _, signature = fields.get(b"x-hub-signature-256", b"").partition(b"=")
    signatures = _from_hex([signature]) if scheme == b"sha256" else ()
    return Signed(signatures[0].hex(), None, b"", signatures) if signatures else None


def _stripe(fields: Mapping[bytes, bytes]) -> Signed | None:
    pairs = [each.strip().partition(b"=") for each in fields.get(b"stripe-signature", b"").split(b",")]
    times = [value for name, _, value in pairs if name == b"t"]
    signatures = _from_hex([value for name, _, value in pairs if name == b"v1"][:_MOST_SIGNATURES])
    if len(times) != 1 or not _is_time(times[0]) or not signatures:
        return None
    return Signed(signatures[0].hex(), int(times[0]), times[0] + b".", signatures)


_READERS = {"standard": _standard, "github": _github, "stripe": _stripe}


def _is_time(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _MOST_DIGITS


def _from_hex(texts: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the signatures that these texts spell; others than SHA-256's are none."""
    found: list[bytes] = []
    for each in texts:
        try:
            found.append(binascii.unhexlify(each))
        except binascii.Error:
            continue
    return tuple(each for each in found if len(each) == hashlib.sha256().digest_size)


def _decoded(texts: Sequence[bytes]) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for each in texts:
        try:
            found.append(base64.b64decode(each, validate=True))
        except binascii.Error:
            continue
    return tuple(each for each in found if len(each) == hashlib.sha256().digest_size)
