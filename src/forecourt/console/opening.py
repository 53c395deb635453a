"""Opens the console of a config where an app has it mounted, and has its endpoints watched there, nowhere else."""

import weakref
from collections.abc import Sequence
from dataclasses import replace

from forecourt.asking import Chain
from forecourt.console.answering import Console
from forecourt.console.state import State
from forecourt.console.watching import UNROUTED, Watching, WatchLayer
from forecourt.jobs.running import queues_of
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.observed import Trips

_watching: weakref.WeakKeyDictionary[Runtime, Watching] = weakref.WeakKeyDictionary()


class Watch:
    """Has endpoints watched by one config's console."""

    def __init__(self, runtime: Runtime, watching: Watching) -> None:
        self._runtime = runtime
        self._watching = watching

    def around(self, chain: Chain, endpoint: Endpoint | None) -> Chain:
        """Return the chain of an endpoint with what watches it; the console's own are left alone."""
        config = self._runtime.config
        if endpoint is not None and config.console.owns(endpoint):
            return chain
        if endpoint is not None:
            policy = config.policy_for(endpoint.name, endpoint.protocol)
            self._watching.knows(endpoint, policy, config.key_functions)
        name = endpoint.name if endpoint else UNROUTED
        return replace(chain, app=WatchLayer(chain.app, self._watching, name))


def open_console(runtime: Runtime, trips: Trips, endpoints: Sequence[Endpoint]) -> Watch | None:
    """Have the console answer for an app with these endpoints; None where it is not mounted."""
    console = runtime.config.console
    if not console.mounted(endpoints):
        return None
    watching = _watching.get(runtime)
    if watching is None:
        watching = _watching[runtime] = Watching(runtime.clock)
        trips.listeners["console"] = watching.trip
    console.bind(Console(runtime, State(runtime, watching, endpoints, queues_of(runtime))))
    return Watch(runtime, watching)
