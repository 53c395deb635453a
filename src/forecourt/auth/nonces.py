"""Nonces for proofs of possession (RFC 9449 §8): they say when a proof was made, by the server's clock.

Nothing is kept of them. A nonce is the number of its period and a signature of that by the key ring, so that every
process with the same `keys` believes what another gave. A period is half of `lifetime`, and a nonce counts in its own
period and the ones beside it: for `lifetime / 2` at least and `lifetime` at most after it was given, and early where
the clock of another process is ahead.
"""

from typing import Literal

from forecourt.policies.keys import KeyRing

Verdict = Literal["fresh", "due", "bad"]
"""A nonce counts, counts but should be followed by the next, or does not count."""

_PURPOSE = "dpop nonce"
_LONGEST = 256


class Nonces:
    """Gives and judges the nonces of one config; `lifetime` and `now` in µs."""

    def __init__(self, ring: KeyRing, lifetime: int) -> None:
        self._ring = ring
        self._period = max(1, lifetime // 2)

    def current(self, now: int) -> str:
        """Return the nonce that clients should use now (NQCHAR, §8.1)."""
        period = f"{now // self._period:x}"
        name, signature = self._ring.sign(_PURPOSE, period.encode())
        return f"{period}.{name}.{signature}"

    def judge(self, nonce: object, now: int) -> Verdict:
        """Judge what a proof says."""
        if not isinstance(nonce, str) or len(nonce) > _LONGEST or not nonce.isascii() or nonce.count(".") != 2:
            return "bad"
        period, name, signature = nonce.split(".")
        if not self._ring.verify(_PURPOSE, name, signature, period.encode()):
            return "bad"
        age = now // self._period - int(period, 16)
        if age not in (-1, 0, 1):
            return "bad"
        return "due" if age == 1 else "fresh"
