"""How the service says how it is."""

from typing import Annotated

from pydantic import Field

from forecourt.policies.quantities import Delay, Duration, microseconds
from forecourt.policies.texts import Texts
from forecourt.policies.wording import Words


class HealthChecks(Words):
    """What `config.health` asks, and whom it tells.

    `fatal`: the checks whose failure makes the service not ready; others make it degraded. `deadline`: seconds for all
    checks together; one that takes longer has failed. `cache`: seconds for which an outcome is told again. `role`: who
    may read what each check found; without one nobody may.
    """

    fatal: Texts = frozenset({"database"})
    deadline: Duration = 1
    cache: Delay = 1
    role: Annotated[str, Field(min_length=1)] | None = None

    def limit(self) -> int:
        """Return µs for all checks."""
        return microseconds(self.deadline)

    def kept(self) -> int:
        """Return µs for which an outcome is told again."""
        return microseconds(self.cache)
