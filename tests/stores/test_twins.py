"""The memory store and the Lua scripts never differ: same verdicts, same values, for the same history.

Histories change parameters, set the clock back, give back, ask in shadow, ask for nothing, and ask groups of which one
limit refuses. A default run makes over a thousand trips of each strategy; FORECOURT_EXAMPLES=80 makes over 100,000.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.bench import LEADING, PARAMETERS, Limit, examples
from tests.servers import Valkey
from tests.stores.twins import Recorder, Server, serving

pytestmark = pytest.mark.valkey

TRIPS = 100
COUNTS: dict[str, int] = {}


@pytest.fixture(scope="module")
def server(valkey_server: Valkey) -> Iterator[Server]:
    """The other twin; says how many trips were compared, when asked to try more than by default."""
    valkey_server.clear()
    with serving(valkey_server) as served:
        yield served
    if "FORECOURT_EXAMPLES" in os.environ:
        print("\ntrips compared:", COUNTS)  # noqa: T201


def trailing(limit: Limit) -> Limit:
    """Return the parameters of a leading debounce for a trailing one."""
    return limit._replace(kind="debounce_trailing")


def several(strategy: st.SearchStrategy[Limit]) -> st.SearchStrategy[list[Limit]]:
    """Return one set of parameters or more, to be in force one after the other."""
    return st.lists(strategy, min_size=1, max_size=3)


HISTORIES = {kind: several(PARAMETERS[kind]) for kind in LEADING}
HISTORIES["debounce_trailing"] = several(PARAMETERS["debounce"].map(trailing))

drawn = st.binary(min_size=8 * TRIPS, max_size=8 * TRIPS)
a_run = settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", HISTORIES)
@given(data=st.data())
@a_run
def test_one_strategy_is_decided_alike(kind: str, server: Server, data: st.DataObject) -> None:
    """Whatever is asked of one strategy, alone or in a group with another limit, both stores answer the same."""
    compare(kind, server, Recorder(data.draw(HISTORIES[kind])), data.draw(drawn))


@given(data=st.data())
@a_run
def test_several_strategies_are_decided_alike(server: Server, data: st.DataObject) -> None:
    """All strategies in one trip, in any order, with a gate among them, are decided the same."""
    kinds = data.draw(st.permutations(sorted(HISTORIES)))[: data.draw(st.integers(2, len(HISTORIES)))]
    recorder = Recorder(*[data.draw(HISTORIES[kind]) for kind in kinds])
    compare("several", server, recorder, data.draw(drawn))


def compare(name: str, server: Server, recorder: Recorder, history: bytes) -> None:
    """Play a history on both, and fail at the first answer that differs."""
    recorder.record(history)
    answers = server.play(recorder.trips)
    for at, (expected, answer) in enumerate(zip(recorder.answers, answers, strict=True)):
        assert answer == expected, f"trip {at}: {recorder.trips[at]}"
    COUNTS[name] = COUNTS.get(name, 0) + len(answers)
