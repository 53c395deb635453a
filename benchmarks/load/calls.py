"""What a client saw of one call: the line of a file that users write and checks read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class SeenCall(NamedTuple):
    """One call. Times are seconds of one monotonic clock; status 0 means that no answer came.

    `counted`: the answer carries RateLimit fields, so the store decided; without them this process did, the store being
    out of reach. `patient`: the caller had waited as long as Retry-After said. `wrong`: what was not right about the
    answer itself, empty when all was.
    """

    endpoint: str
    client: str
    sent: float
    received: float
    status: int
    counted: bool
    retry_after: float | None = None
    patient: bool = False
    wrong: str = ""


def write(file: Path, calls: list[SeenCall]) -> None:
    """Write calls, one a line."""
    file.write_text("".join(json.dumps(call) + "\n" for call in calls), "utf-8")


def read(file: Path) -> Iterator[SeenCall]:
    """Read what `write` wrote."""
    for line in file.read_text("utf-8").splitlines():
        yield SeenCall(*json.loads(line))
