"""Which endpoints a switch means, and which of several holds longest."""

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.maintenance import Switch, longest

NAMES = st.text("ab.*?[]", max_size=5)
ENDS = st.none() | st.integers(0, 20)


@given(NAMES, NAMES)
def test_a_glob_means_what_the_shell_would(glob: str, name: str) -> None:
    """The same wildcards as names in a config."""
    assert Switch(glob).means(name) == fnmatchcase(name, glob)


@given(st.lists(ENDS), st.integers(0, 20))
def test_the_longest_of_those_that_hold(until: list[int | None], now: int) -> None:
    """One without an end before all others; one that has ended never, from its last microsecond on."""
    found = longest([Switch("*", each) for each in until], now)
    if None in until:
        assert found == Switch("*")
    else:
        last = max((each for each in until if each is not None and each > now), default=None)
        assert found == (None if last is None else Switch("*", last))
