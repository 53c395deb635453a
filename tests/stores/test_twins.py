"""The memory store and the Lua scripts never differ: same verdicts, same values, for the same history.

Histories change parameters, set the clock back, give back, ask in shadow, ask for nothing, and ask groups of which one
limit refuses. A default run makes over a thousand trips of each strategy; FORECOURT_EXAMPLES=80 makes over 100,000.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecourt.stores.contract import Question, Settlement
from tests.core.bench import LEADING, PARAMETERS, Limit, examples
from tests.servers import Valkey
from tests.stores.twins import Recorder, Server, Trip, played, serving

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


NOW = 1_700_000_000_000_000
LATER = NOW + 1_000_000


def asked(now: int, kind: str, *args: int) -> Trip:
    """Ask one question about the only key of a kind."""
    return Trip(now, (Question(kind, kind, args),))


def told(now: int, kind: str, *args: int) -> Trip:
    """Tell one settlement about the only key of a kind."""
    return Trip(now, settlements=(Settlement(f"{kind}_back", kind, args),))


CORNERS = {
    "another fraction, the same span": [
        asked(NOW, "token_bucket", 1000, 1_000_500, 999, 1, 0),
        asked(NOW, "token_bucket", 1, 1_001_502, 1, 0, 0),
    ],
    "given back to a changed bucket": [
        asked(NOW, "token_bucket", 100, 1_000_000, 1, 60, 0),
        told(NOW, "token_bucket", 10, 1_000_000, 1, 2, NOW + 100_000_000),
        asked(NOW, "token_bucket", 10, 1_000_000, 1, 0, 0),
    ],
    "a peek beyond a lowered limit": [
        asked(NOW, "fixed_window", 5, 2_000_000, 5, 0),
        asked(NOW, "fixed_window", 3, 2_000_000, 0, 0),
    ],
    "given back by a longer window to one that is over": [
        asked(NOW, "sliding_window", 5, 100_000, 5, 0),
        told(LATER, "sliding_window", 5, 60_000_000, 1, NOW),
        asked(LATER, "sliding_window", 5, 60_000_000, 0, 0),
    ],
    "the largest numbers that a config allows": [
        asked(NOW, "token_bucket", 104_249, 43_200_000_000, 1, 104_249, 0),
        asked(LATER, "token_bucket", 104_249, 43_200_000_000, 1, 2, 0),
        asked(NOW, "sliding_window", 52_124, 86_400_000_000, 52_124, 0),
        asked(NOW + 90_000_000_001, "sliding_window", 52_124, 86_400_000_000, 50_000, 0),
        asked(NOW, "throttle", 86_400_000_000, 999_983, 4_000_000_000, 50_000, 0),
        asked(NOW, "throttle", 86_400_000_000, 999_983, 4_000_000_000, 1, 0),
    ],
}
"""Histories that chance seldom makes."""


@pytest.mark.parametrize("trips", CORNERS.values(), ids=CORNERS)
def test_rare_cases_are_decided_alike(server: Server, trips: list[Trip]) -> None:
    """Both stores answer the same."""
    assert server.play(trips) == played(trips)


def compare(name: str, server: Server, recorder: Recorder, history: bytes) -> None:
    """Play a history on both, and fail at the first answer that differs."""
    recorder.record(history)
    answers = server.play(recorder.trips)
    for at, (expected, answer) in enumerate(zip(recorder.answers, answers, strict=True)):
        assert answer == expected, f"trip {at}: {recorder.trips[at]}"
    COUNTS[name] = COUNTS.get(name, 0) + len(answers)
