"""The first line: how much one client address may ask of one process, before the caller is known."""

from forecourt.policies.quantities import Count, Duration, microseconds
from forecourt.policies.wording import Words


class FloodGuard(Words):
    """At most `limit` requests of one client address in each `window` seconds, counted in this process."""

    limit: Count
    window: Duration

    def args(self) -> tuple[int, int, int, int]:
        """Return the arguments of the operation `fixed_window`: (limit, window in µs, cost 1, shadow 0)."""
        return self.limit, microseconds(self.window), 1, 0
