"""The text of an API key: `prefix_id_secret`, its last six characters a checksum.

The id (12 characters) finds the record, the secret (32 characters, 190 random bits) proves the caller. The checksum
(CRC-32 of all before it, base 62) tells typos, and tells scanners a key from any other text, without a look-up; it
proves nothing. What is kept is a hash of the whole: the secret is random, so that a fast one is as good as a slow one.
"""

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET, _CHECK = 12, 32, 6
_FORM = re.compile(rf"([A-Za-z][A-Za-z0-9]{{0,15}})_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET + _CHECK}}})")

NOBODY = "0" * 64
"""A hash that no key has, to compare with where there is no record."""


def made(prefix: str, draw: Callable[[str], str], id: str | None = None) -> str:  # noqa: A002  # its word
    """Make a key; `draw` chooses a character, by chance that nobody can guess. `id`: of an earlier key, to replace."""
    own = id or "".join(draw(ALPHABET) for _ in range(_ID))
    secret = "".join(draw(ALPHABET) for _ in range(_SECRET))
    return f"{prefix}_{own}_{secret}{checksum(f'{prefix}_{own}_{secret}')}"


def id_of(text: str, prefix: str) -> str | None:
    """Return the id in a key; None where its form or checksum is wrong."""
    form = _FORM.fullmatch(text)
    if form is None or form[1] != prefix or checksum(text[:-_CHECK]) != text[-_CHECK:]:
        return None
    return form[2]


def hashed(text: str, pepper: str | None) -> str:
    """Return what is kept of a key."""
    if pepper is None:
        return hashlib.sha256(text.encode()).hexdigest()
    return hmac.digest(pepper.encode(), text.encode(), "sha256").hex()


def same(kept: str, shown: str) -> bool:
    """Compare hashes in constant time."""
    return hmac.compare_digest(kept.encode(), shown.encode())


def checksum(text: str) -> str:
    """Return six characters that a typo changes."""
    left, written = zlib.crc32(text.encode()), ""
    for _ in range(_CHECK):
        left, place = divmod(left, len(ALPHABET))
        written = ALPHABET[place] + written
    return written
