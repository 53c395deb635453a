"""What must be true after a load, judged from what the clients saw.

A call was decided at some instant between sent and received. So the calls that were sent after `a` and received before
`b` were all decided within [a, b], and no more of them may have been admitted than the policy admits in b - a seconds:
sound whatever the network did. Only answers that the store counted are judged so. A process that cannot reach the store
within its deadline decides alone, as the policies say; the share of those answers has a budget of its own.
"""

import math
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from benchmarks.load.calls import SeenCall

ERROR_BUDGET = 0.001
"""The share of calls that may fail: no answer, or 5xx."""

ALONE_BUDGET = 0.05
"""The share of a limited endpoint's calls that processes may decide alone: stalls of a machine under its own load."""

LEAST_CALLS = 200
"""Fewer calls than this prove nothing."""


class Check(NamedTuple):
    """One thing that must be true, whether it is, and the figures."""

    name: str
    passed: bool
    figures: str


class Limit(NamedTuple):
    """How many calls of one client a policy of the demo admits in any interval of so many seconds."""

    endpoint: str
    statuses: frozenset[int]
    most: Callable[[float], int]
    says: str


_OK = frozenset({200, 201, 204, 404})
LIMITS = (
    Limit("get_record", _OK, lambda span: 5 + math.floor(span), "5 at once and 1 a second"),
    Limit("create_record", _OK, lambda span: 2 * (math.ceil(span) + 1), "2 in each second"),
    Limit("create_record", _OK, lambda span: 100 * (math.ceil(span / 3600) + 1), "100 in each hour"),
    Limit("export_records", _OK, lambda span: 1 + math.floor(span / 2), "one every 2 seconds"),
    # Two counters estimate the last minute: exact for evenly spread calls, below twice the limit for any.
    Limit(
        "login", frozenset({401}), lambda span: 9 * math.ceil(max(span, 0.001) / 60), "fewer than 10 failures a minute"
    ),
)
"""Of examples/records/policies.toml."""


def check(calls: Sequence[SeenCall], titles_sent: Iterable[str], titles_kept: Sequence[str]) -> list[Check]:
    """Return every check; a title is what a POST sent, kept is what the service shows at the end."""
    return [
        _enough(calls),
        *(_limit(calls, limit) for limit in LIMITS),
        _both_ways(calls),
        _errors(calls),
        _alone(calls),
        _right(calls),
        _retry_after(calls),
        _patient(calls),
        _once(titles_sent, titles_kept),
    ]


def _enough(calls: Sequence[SeenCall]) -> Check:
    clients = len({call.client for call in calls})
    return Check("there was a load", len(calls) >= LEAST_CALLS, f"{len(calls)} calls of {clients} clients")


def _limit(calls: Sequence[SeenCall], limit: Limit) -> Check:
    admitted: dict[str, list[SeenCall]] = defaultdict(list)
    for call in calls:
        if call.endpoint == limit.endpoint and call.counted and call.status in limit.statuses:
            admitted[call.client].append(call)
    worst = max((excess(each, limit.most) for each in admitted.values()), default=0)
    total = sum(len(each) for each in admitted.values())
    return Check(
        f"{limit.endpoint}: {limit.says}, by client",
        worst <= 0 and total > 0,
        f"{total} admitted of {len(admitted)} clients, at most {worst:+d} against the bound",
    )


def excess(calls: list[SeenCall], most: Callable[[float], int]) -> int:
    """Return by how many calls any interval is over what it may hold; negative when none is full."""
    calls.sort(key=lambda call: call.sent)
    worst = -math.inf
    received: list[float] = []
    for first in reversed(calls):
        insort(received, first.received)
        for number, end in enumerate(received, 1):
            worst = max(worst, number - most(end - first.sent))
    return int(worst)


def _both_ways(calls: Sequence[SeenCall]) -> Check:
    """Limits that refused nobody were not tried."""
    refused = Counter(call.endpoint for call in calls if call.status == 429)
    silent = sorted({limit.endpoint for limit in LIMITS} - set(refused))
    return Check(
        "every limit refused someone", not silent, ", ".join(f"{n} {name}" for name, n in sorted(refused.items()))
    )


def _errors(calls: Sequence[SeenCall]) -> Check:
    failed = Counter(call.status for call in calls if call.status == 0 or call.status >= 500)
    share = sum(failed.values()) / max(1, len(calls))
    return Check(
        f"errors within {ERROR_BUDGET:.1%}", share <= ERROR_BUDGET, f"{share:.3%} {dict(failed) or ''}".rstrip()
    )


def _alone(calls: Sequence[SeenCall]) -> Check:
    limited = {limit.endpoint for limit in LIMITS}
    answered = Counter(call.endpoint for call in calls if call.endpoint in limited and 0 < call.status < 500)
    alone = Counter(call.endpoint for call in calls if call.endpoint in answered and not call.counted)
    shares = {endpoint: alone[endpoint] / number for endpoint, number in answered.items()}
    over = {endpoint: f"{share:.1%}" for endpoint, share in shares.items() if share > ALONE_BUDGET}
    figures = f"{sum(alone.values())} calls" + (f", too many of {over}" if over else "")
    return Check(f"decided without the store within {ALONE_BUDGET:.0%} of each endpoint's calls", not over, figures)


def _right(calls: Sequence[SeenCall]) -> Check:
    wrong = Counter(call.wrong for call in calls if call.wrong)
    return Check("every answer is the one that was asked for", not wrong, str(dict(wrong)) if wrong else "all")


def _retry_after(calls: Sequence[SeenCall]) -> Check:
    refused = [call for call in calls if call.status == 429]
    without = sum(call.retry_after is None for call in refused)
    return Check("every 429 says when to come back", without == 0, f"{len(refused)} refused, {without} do not say")


def _patient(calls: Sequence[SeenCall]) -> Check:
    waited = [call for call in calls if call.patient]
    refused = sum(call.status == 429 for call in waited)
    return Check(
        "who waits as told is let in", bool(waited) and refused == 0, f"{len(waited)} waited, {refused} refused again"
    )


def _once(sent: Iterable[str], kept: Sequence[str]) -> Check:
    times = Counter(kept)
    lost = sum(times[title] == 0 for title in sent)
    twice = sum(number > 1 for number in times.values())
    return Check("every record that was answered 201 is kept, once", lost == twice == 0, f"{lost} lost, {twice} twice")
