"""What many checks say together: well, degraded, or not there."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple

Standing = Literal["pass", "warn", "fail"]


class Finding(NamedTuple):
    """What one check found: its name, how it stands, a word for operators, and the µs that it took."""

    name: str
    standing: Standing
    said: str = ""
    took: int = 0


def together(findings: Iterable[Finding], fatal: AbstractSet[str]) -> Standing:
    """Return how the service stands: a failure is fatal where its name, or the part before its colon, is."""
    worst: Standing = "pass"
    for each in findings:
        if each.standing == "fail" and not fatal.isdisjoint({each.name, each.name.partition(":")[0]}):
            return "fail"
        if each.standing != "pass":
            worst = "warn"
    return worst


def written(standing: Standing, findings: Sequence[Finding]) -> dict[str, object]:
    """Return the document, with what each check found."""
    return {
        "status": standing,
        "checks": {
            each.name: [
                {
                    "status": each.standing,
                    "observedValue": each.took / 1000,
                    "observedUnit": "ms",
                    **({"output": each.said} if each.said else {}),
                }
            ]
            for each in findings
        },
    }
