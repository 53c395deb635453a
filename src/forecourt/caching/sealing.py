"""Kept answers sealed in the store: head and body each by itself, the body bound to its head.

A head without its body, and a body under another head of the same place, do not open.
"""

import asyncio

from forecourt.core.sealed import TAG
from forecourt.sealing import Seal

IN_THREAD = 256 * 1024
"""Bytes of a body from which on it is packed and sealed in a thread."""


async def sealed(seal: Seal, stored: str, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return head and body as the store keeps them; a large body is sealed in a thread."""
    head = seal.seal(head, stored)
    if len(body) > IN_THREAD:
        return head, await asyncio.to_thread(seal.seal, body, _under(stored, head))
    return head, seal.seal(body, _under(stored, head))


def opened(seal: Seal, stored: str, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return what `sealed` was given; ValueError where one of them is not of this place, or not of the other."""
    return seal.open(head, stored), seal.open(body, _under(stored, head))


def _under(stored: str, head: bytes) -> str:
    return f"{stored} body of {head[-TAG:].hex()}"
