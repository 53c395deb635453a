"""How often an endpoint may be called: five strategies, and what each asks of the store.

Each limit turns itself into the kind and the integer arguments of an operation in `core`: the stack calls
`operation` once per tier at startup, never per request. Durations are microseconds; `shadow` is 0 or 1.

    token_bucket       (capacity, N, D, cost, shadow)     a token takes N/D µs; 2·capacity·N, 2·D < 2^53
    fixed_window       (limit, window, cost, shadow)      2·limit < 2^53
    sliding_window     (limit, window, cost, shadow)      (2·limit + cost)·window < 2^53
    sliding_log        (limit, window, cost, shadow)      limit <= 1000
    throttle           (N, D, max_delay, cost, shadow)    N/D µs between calls; 2·cost·N, 2·D < 2^53
    debounce           (interval, max_wait or 0, shadow)
    debounce_trailing  (interval, max_wait or 0, shadow)
"""

from typing import ClassVar, Literal

from forecourt.policies.limit import Limit
from forecourt.policies.quantities import Count, Delay, Duration, Rate, microseconds, period
from forecourt.policies.wording import Fault, fault
from forecourt.types import EXACT

Operation = tuple[str, tuple[int, ...]]
"""The kind of an operation of `core`, and its arguments."""

LONGEST_LOG = 1000
"""The largest limit of an exact sliding window, which keeps every call."""


class TokenBucket(Limit):
    """A bucket of `max_tokens`, filled at `refill_rate` tokens a second; a call takes `cost` of them.

    After a pause a caller may spend the whole bucket at once, then goes on at the refill rate.
    """

    type: Literal["token_bucket"] = "token_bucket"
    max_tokens: Count
    refill_rate: Rate

    numbers: ClassVar[tuple[str, ...]] = ("max_tokens", "refill_rate")

    def operation(self, tier: str | None = None) -> Operation:
        """Return the kind and (capacity, N, D, cost, shadow); a token takes N/D microseconds."""
        own = self.of_tier(tier)
        token = period(own.refill_rate)
        return "token_bucket", (
            own.max_tokens,
            token.numerator,
            token.denominator,
            own.cost,
            int(own.shadow),
        )

    def faults(self) -> list[Fault]:
        """Return what makes this limit impossible."""
        token = period(self.refill_rate)
        most = (EXACT - 1) // (2 * token.numerator)
        if most == 0 or 2 * token.denominator >= EXACT:
            return [fault("refill_rate", self.refill_rate, "is too small, too large or has too many digits")]
        if self.max_tokens > most:
            reason = f"must be at most {most} at a refill_rate of {self.refill_rate}, to be counted exactly"
            return [fault("max_tokens", self.max_tokens, reason)]
        return super().faults() + _too_costly(self, "max_tokens", self.max_tokens)


class FixedWindow(Limit):
    """At most `limit` in each window of `window` seconds; up to twice that around the end of one."""

    type: Literal["fixed_window"] = "fixed_window"
    limit: Count
    window: Duration

    numbers: ClassVar[tuple[str, ...]] = ("limit", "window")

    def operation(self, tier: str | None = None) -> Operation:
        """Return the kind and (limit, window, cost, shadow)."""
        own = self.of_tier(tier)
        return "fixed_window", (own.limit, microseconds(own.window), own.cost, int(own.shadow))

    def faults(self) -> list[Fault]:
        """Return what makes this limit impossible."""
        if 2 * self.limit >= EXACT:
            return [fault("limit", self.limit, f"must be below {EXACT // 2}, to be counted exactly")]
        return super().faults() + _too_costly(self, "limit", self.limit)


class SlidingWindow(Limit):
    """At most `limit` in any `window` seconds.

    Two counters estimate the calls of the last window; with `exact=True` each call is kept, up to 1,000.
    """

    type: Literal["sliding_window"] = "sliding_window"
    limit: Count
    window: Duration
    exact: bool = False

    numbers: ClassVar[tuple[str, ...]] = ("limit", "window")

    def operation(self, tier: str | None = None) -> Operation:
        """Return the kind and (limit, window, cost, shadow)."""
        own = self.of_tier(tier)
        kind = "sliding_log" if own.exact else "sliding_window"
        return kind, (own.limit, microseconds(own.window), own.cost, int(own.shadow))

    def faults(self) -> list[Fault]:
        """Return what makes this limit impossible."""
        wrong = self._faults_of_a_log() if self.exact else self._faults_of_counters()
        return wrong or super().faults() + _too_costly(self, "limit", self.limit)

    def _faults_of_a_log(self) -> list[Fault]:
        if self.limit > LONGEST_LOG:
            reason = f"must be at most {LONGEST_LOG}, as every call is kept; say exact=False to count them"
            return [fault("limit", self.limit, reason)]
        if self.batch > 1:
            return [fault("batch", self.batch, "must be 1 with exact=True, which keeps each call")]
        return []

    def _faults_of_counters(self) -> list[Fault]:
        window = microseconds(self.window)
        most = ((EXACT - 1) // window - self.cost) // 2
        if most < 1:
            return [fault("window", self.window, f"is too long to count calls of cost {self.cost} exactly")]
        if self.limit > most:
            reason = f"must be at most {most} in a window of {self.window} seconds, to be counted exactly"
            return [fault("limit", self.limit, reason)]
        return []


class Throttle(Limit):
    """Calls evenly spaced: `rate` in each `per` seconds, one at a time.

    A call that comes too early waits up to `max_delay` seconds for its turn, or is refused. A call of `cost`
    2 keeps the next one away for twice as long.
    """

    type: Literal["throttle"] = "throttle"
    rate: Rate
    per: Duration = 1
    max_delay: Delay = 0

    numbers: ClassVar[tuple[str, ...]] = ("rate", "per", "max_delay")

    def operation(self, tier: str | None = None) -> Operation:
        """Return the kind and (N, D, max_delay, cost, shadow); calls are N/D microseconds apart."""
        own = self.of_tier(tier)
        gap = period(own.rate, own.per)
        return "throttle", (
            gap.numerator,
            gap.denominator,
            microseconds(own.max_delay),
            own.cost,
            int(own.shadow),
        )

    def faults(self) -> list[Fault]:
        """Return what makes this limit impossible."""
        gap = period(self.rate, self.per)
        if 2 * gap.numerator >= EXACT or 2 * gap.denominator >= EXACT:
            return [fault("rate", self.rate, "is too small, too large or has too many digits")]
        if 2 * gap.numerator * self.cost >= EXACT:
            reason = f"must be at most {(EXACT - 1) // (2 * gap.numerator)}, to be counted exactly"
            return [fault("cost", self.cost, reason)]
        return super().faults() + _not_of_time(self)


class Debounce(Limit):
    """One call of a flurry: the first (`edge="leading"`) or the last (`edge="trailing"`).

    Each call starts a quiet time of `interval` seconds anew; `max_wait` lets one through under a steady
    stream. Leading: calls within the quiet time are refused. Trailing: a call waits for the quiet time to end
    and runs, unless a later one took its place.
    """

    type: Literal["debounce"] = "debounce"
    interval: Duration
    edge: Literal["leading", "trailing"] = "leading"
    max_wait: Duration | None = None

    numbers: ClassVar[tuple[str, ...]] = ("interval", "max_wait")

    def operation(self, tier: str | None = None) -> Operation:
        """Return the kind and (interval, max_wait or 0, shadow)."""
        own = self.of_tier(tier)
        kind = "debounce" if own.edge == "leading" else "debounce_trailing"
        max_wait = 0 if own.max_wait is None else microseconds(own.max_wait)
        return kind, (microseconds(own.interval), max_wait, int(own.shadow))

    def faults(self) -> list[Fault]:
        """Return what makes this limit impossible."""
        wrong = [*super().faults(), *_not_of_time(self)]
        if self.max_wait is not None and microseconds(self.max_wait) < microseconds(self.interval):
            reason = f"must be at least the interval, {self.interval}"
            wrong.append(fault("max_wait", self.max_wait, reason))
        if self.cost != 1:
            wrong.append(fault("cost", self.cost, "must be 1: a debounce counts nothing"))
        if self.local_share != 1:
            wrong.append(fault("local_share", self.local_share, "must be 1: a debounce has nothing to share"))
        if self.edge == "trailing" and self.count != "request":
            wrong.append(fault("count", self.count, 'must be "request" with edge="trailing"'))
        return wrong


def _too_costly(limit: Limit, field: str, most: int) -> list[Fault]:
    """Return the fault of a limit that no call, or no batch of calls, can meet or give back."""
    if limit.cost > most:
        return [fault("cost", limit.cost, f"must be at most {field} ({most}), or no call can ever pass")]
    if limit.batch > 1 and limit.count == "failure":
        return [fault("batch", limit.batch, 'must be 1 with count="failure", which gives back call by call')]
    if limit.batch * limit.cost > most:
        reason = f"must be at most {most // limit.cost}, so that {field} ({most}) can give a batch of cost {limit.cost}"
        return [fault("batch", limit.batch, reason)]
    return []


def _not_of_time(limit: Limit) -> list[Fault]:
    """Return what a limit by time alone cannot do: take several calls at once, give one back."""
    wrong = []
    if limit.batch > 1:
        wrong.append(fault("batch", limit.batch, "must be 1: calls that are spaced cannot be taken together"))
    if limit.count == "failure":
        wrong.append(fault("count", limit.count, "time that has passed cannot be given back"))
    return wrong
