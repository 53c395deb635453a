"""What the innermost layer needs to write a call's idempotency record in the handler's own transaction."""

from collections.abc import Callable
from typing import NamedTuple

from forecourt.layers.idempotency_request import ReadRequest
from forecourt.layers.idempotency_work import Recorder

TRANSACTION = "idempotency transaction"
"""The note under which it lies on the exchange."""


class Transaction(NamedTuple):
    """One claimed call; `ttl` in µs, `most`: bytes of a body that is kept, `encoded`: makes an answer's record.

    `plain` undoes the sealing of what `encoded` made; ValueError where that cannot be.
    """

    database: str
    key: str
    ttl: int
    most: int
    request: ReadRequest
    encoded: Callable[[Recorder], bytes]
    plain: Callable[[bytes], bytes]
