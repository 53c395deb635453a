"""Every operation there is, and sequences of them cut into groups.

Stores import operations through this module, so that all of them are registered.
"""

import functools
from itertools import groupby

from forecourt.core import (
    cache,
    debounce,
    fixed_window,
    keeping,
    lease,
    sliding_log,
    sliding_window,
    throttle,
    token_bucket,
)
from forecourt.core.credits import CHARGE, GRANT, HISTORY, HOLD, SETTLE
from forecourt.core.idempotency import OPERATIONS as IDEMPOTENCY
from forecourt.core.key_book import DROP, FIND, LIST, PUT
from forecourt.core.operations import GROUPS, Operation, operation
from forecourt.core.revocation import REVOKE, REVOKED, USE

LIMITS = (
    token_bucket.TOKEN_BUCKET,
    fixed_window.FIXED_WINDOW,
    sliding_window.SLIDING_WINDOW,
    sliding_log.SLIDING_LOG,
    throttle.THROTTLE,
    debounce.DEBOUNCE,
    debounce.DEBOUNCE_TRAILING,
    debounce.DEBOUNCE_CLAIM,
)
LEASES = (lease.LEASE, lease.RENEW, lease.RELEASE)
CHECKS = (REVOKED, REVOKE, USE)
KEY_BOOK = (FIND, PUT, DROP, LIST)
CREDITS = (CHARGE, HOLD, SETTLE, GRANT, HISTORY, keeping.KEEPING)
CACHE = (
    cache.LOOK,
    cache.TAG,
    cache.LOG,
    cache.FILL,
    cache.PASS,
    cache.RELEASE,
    cache.HOLD,
    cache.CUT,
    cache.NOTE,
)

__all__ = [
    "CACHE",
    "CHECKS",
    "CREDITS",
    "IDEMPOTENCY",
    "KEY_BOOK",
    "LEASES",
    "LIMITS",
    "Plan",
    "decision",
    "settlement",
]

Plan = tuple[tuple[Operation, ...], ...]
"""The operations of one trip, by group, in the order in which they are decided."""


@functools.cache
def decision(kinds: tuple[str, ...]) -> Plan:
    """Return the groups of the questions of one trip.

    KeyError for an unknown kind; ValueError when groups are out of order or settlements are among them.
    """
    operations = [operation(kind) for kind in kinds]
    ranks = [GROUPS.index(each.group) for each in operations]
    if ranks != sorted(ranks) or any(each.group == "settle" for each in operations):
        raise ValueError(f"questions out of order: {', '.join(kinds)}")
    return tuple(tuple(members) for _, members in groupby(operations, key=lambda each: each.group))


@functools.cache
def settlement(kinds: tuple[str, ...]) -> tuple[Operation, ...]:
    """Return the operations of settlements; KeyError for an unknown kind, ValueError for a question's."""
    operations = tuple(operation(kind) for kind in kinds)
    if any(each.group != "settle" for each in operations):
        raise ValueError(f"not all of these are settlements: {', '.join(kinds)}")
    return operations
