"""The response fields that tell callers their limits: RateLimit-Policy, RateLimit, or the older X-RateLimit-*.

`draft-11` writes the syntax of draft-ietf-httpapi-ratelimit-headers-11: lists of quoted policy names (RFC 9651 strings)
with `q` quota, `w` window seconds; `r` remaining, `t` seconds until more. The draft may still rename its parameters, so
the writer is chosen by name and nothing else knows the syntax. `legacy` writes one limit, the one nearest its end, as
X-RateLimit-Limit, -Remaining and -Reset (seconds from now).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from forecourt.responses import Header
from forecourt.types import SECOND

LimitHeaders = Literal["draft-11", "legacy", "both", "none"]


@dataclass(frozen=True, slots=True)
class Quota:
    """What a limit promises: `limit` units per `window` whole seconds (0: shorter than the syntax can say)."""

    name: str
    limit: int
    window: int
    unit: str = ""
    """A registered quota unit other than requests, such as `concurrent-requests`."""
    item: bytes = field(init=False)
    """Its item in RateLimit-Policy."""
    quoted: bytes = field(init=False)
    """Its name as an item of RateLimit begins with it."""
    policy: Header = field(init=False)
    """RateLimit-Policy, where it is the only one."""

    def __post_init__(self) -> None:
        window = f";w={self.window}" if self.window else ""
        unit = f';qu="{self.unit}"' if self.unit else ""
        quoted = f'"{self.name}"'
        object.__setattr__(self, "quoted", quoted.encode("latin-1"))
        item = f"{quoted};q={self.limit}{unit}{window}".encode("latin-1")
        object.__setattr__(self, "item", item)
        object.__setattr__(self, "policy", (b"ratelimit-policy", item))


class Standing(NamedTuple):
    """Where a caller stands: its quota, what remains, and µs until there is more (0: all of it is there)."""

    quota: Quota
    remaining: int
    reset: int


Writer = Callable[[Sequence[Standing]], list[Header]]


def draft_11(standings: Sequence[Standing]) -> list[Header]:
    """Write RateLimit-Policy and RateLimit, every limit in each."""
    if len(standings) == 1:
        ((quota, remaining, reset),) = standings
        left = (
            b"%b;r=%d;t=%d" % (quota.quoted, remaining, -(-reset // SECOND))
            if reset
            else b"%b;r=%d" % (quota.quoted, remaining)
        )
        return [quota.policy, (b"ratelimit", left)]
    if not standings:
        return []
    policies = b", ".join([quota.item for quota, _, _ in standings])
    limits = b", ".join(
        [
            b"%b;r=%d;t=%d" % (quota.quoted, remaining, -(-reset // SECOND))
            if reset
            else b"%b;r=%d" % (quota.quoted, remaining)
            for quota, remaining, reset in standings
        ]
    )
    return [(b"ratelimit-policy", policies), (b"ratelimit", limits)]


def legacy(standings: Sequence[Standing]) -> list[Header]:
    """Write the X-RateLimit fields of the limit with the least left."""
    if not standings:
        return []
    quota, remaining, reset = min(standings, key=lambda standing: standing.remaining)
    return [
        (b"x-ratelimit-limit", b"%d" % quota.limit),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % -(-reset // SECOND)),
    ]


def both(standings: Sequence[Standing]) -> list[Header]:
    """Write the draft's fields and the older ones."""
    return draft_11(standings) + legacy(standings)


def none(_standings: Sequence[Standing]) -> list[Header]:
    """Write nothing."""
    return []


WRITERS: dict[LimitHeaders, Writer] = {"draft-11": draft_11, "legacy": legacy, "both": both, "none": none}
