"""Records sealed and opened beside MultiFernet and JWE, by size."""

import os
from collections.abc import Awaitable, Callable

from cryptography.fernet import Fernet, MultiFernet
from joserfc import jwe
from joserfc.jwk import OctKey

from benchmarks.bench import Bench
from benchmarks.harness import Work
from benchmarks.results import Table
from forecourt.ciphers import RingSeal
from forecourt.policies.keys import KeyRing

TITLE = "Sealing at rest"
ABOUT = (
    "A record sealed and opened again, by the first of two keys. MultiFernet is AES-128-CBC with HMAC in base64, and "
    "knows nothing of where a record belongs; JWE is `dir` with A256GCM by joserfc, which takes no more than 64 KiB "
    "unless it is told to."
)

_PLACE = "fc:{kD8xOEbmE6mYq1vx}:idempotency:Qp3nW0ZxuR9tB2Lc"


async def run(bench: Bench) -> list[Table]:
    """Measure a table for each size."""
    tables = []
    for size, named in ((1024, "1 kB"), (16_384, "16 kB"), (262_144, "256 kB")):
        rows = await bench.measure_works(f"records of {named}", _works(os.urandom(size), size <= 16_384))
        tables.append(Table(f"sealing_{size}", f"A record of {named}", rows, floor=""))
    return tables


def _works(record: bytes, also_jwe: bool) -> list[Work]:
    works = [
        Work("MultiFernet", _fernet(record), "MultiFernet([Fernet(new), Fernet(old)])"),
        Work("forecourt", _ours(record), 'RingSeal(ring, "cache", "get_record")', "ours"),
    ]
    return [*works, Work("joserfc, JWE dir A256GCM", _jwe(record), "jwe.encrypt_compact")] if also_jwe else works


def _fernet(record: bytes) -> Callable[[], Awaitable[object]]:
    both = MultiFernet([Fernet(Fernet.generate_key()), Fernet(Fernet.generate_key())])

    async def work() -> None:
        if both.decrypt(both.encrypt(record)) != record:
            raise RuntimeError("it opened as another")

    return work


def _ours(record: bytes) -> Callable[[], Awaitable[object]]:
    seal = RingSeal(KeyRing([os.urandom(32), os.urandom(32)]), "cache", "get_record")

    async def work() -> None:
        if seal.open(seal.seal(record, _PLACE, "acme"), _PLACE, "acme") != record:
            raise RuntimeError("it opened as another")

    return work


def _jwe(record: bytes) -> Callable[[], Awaitable[object]]:
    key = OctKey.import_key(os.urandom(32))
    header = {"alg": "dir", "enc": "A256GCM"}

    async def work() -> None:
        if jwe.decrypt_compact(jwe.encrypt_compact(header, record, key), key).plaintext != record:
            raise RuntimeError("it opened as another")

    return work
