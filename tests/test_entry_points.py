"""What installed packages bring is found by name, and imported only when a config says that name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from forecourt import ConfigError, EndpointPolicy, JobConfig, OwnLimit
from forecourt.core import operations
from forecourt.entry_points import found_by, names_in
from forecourt.policies import own_limits
from forecourt.stores.scripts import fragment
from tests.distributions import Packages

STRATEGY = """
from typing import ClassVar
from forecourt import OwnLimit, Strategy
from forecourt.core.operations import Outcome

class Never(OwnLimit):
    type: str = "never"
    most: int
    numbers: ClassVar[tuple[str, ...]] = ("most",)

    def arguments(self):
        return (self.most,)

    def promise(self):
        return self.most, 1_000_000

def take(states, now, args):
    return Outcome("refuse", (0, -1, 0, 0))

NEVER = Strategy(Never, take, "-- compute\\nlocal ok$, v1$, v2$, v3$, v4$ = 0, 0, -1, 0, $A3 * 0\\n")
"""


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    yield
    own_limits._strategies.pop("never", None)
    operations._registry.pop("never", None)
    fragment.cache_clear()


def test_names_are_read_without_importing(packages: Packages) -> None:
    """Being installed imports nothing; who asks for a name gets what it names, for one that is not there None."""
    packages.install("brought", "VALUE = 7", "[forecourt.tests]\nseven = brought:VALUE\n")
    assert names_in("forecourt.tests") == ["seven"]
    assert found_by("forecourt.tests", "eight") is None
    assert not packages.imported("brought")
    assert found_by("forecourt.tests", "seven") == 7
    assert packages.imported("brought")


def test_what_cannot_be_had_is_told(packages: Packages) -> None:
    """A package that does not import, by its name and why; a name that two packages have, by both."""
    packages.install("broken", "1 / 0", "[forecourt.tests]\nbroken = broken:VALUE\nshared = broken:VALUE\n")
    packages.install("other", "VALUE = 1", "[forecourt.tests]\nshared = other:VALUE\n")
    with pytest.raises(ConfigError, match=r"\'broken\' of forecourt.tests \(broken\): ZeroDivisionError"):
        found_by("forecourt.tests", "broken")
    with pytest.raises(ConfigError, match=r"'shared' of forecourt.tests is in broken and other; uninstall one"):
        found_by("forecourt.tests", "shared")


@pytest.mark.usefixtures("forgotten")
def test_an_installed_strategy_is_found_by_its_type(packages: Packages, tmp_path: Path) -> None:
    """A policy file that names it has it; one that names another is told of it, and nothing is imported."""
    packages.install("nevers", STRATEGY, "[forecourt.strategies]\nnever = nevers:NEVER\n")
    path = tmp_path / "policies.toml"
    path.write_text('[default]\nrate_limit = { type = "nevre", most = 3 }\n')
    with pytest.raises(ConfigError, match='did you mean "never"'):
        JobConfig.from_file(path)
    assert not packages.imported("nevers")
    path.write_text('[default]\nrate_limit = { type = "never", most = 3 }\n')
    policy = JobConfig.from_file(path).default
    assert isinstance(policy, EndpointPolicy)
    assert isinstance(policy.rate_limit, OwnLimit)
    assert policy.rate_limit.operation() == ("never", (3, 1, 0))
    path.write_text('[default]\nrate_limit = { type = "never", most = 3, count = "failure" }\n')
    with pytest.raises(ConfigError, match=r"count: .* this strategy has no give_back"):
        JobConfig.from_file(path)


def test_what_is_no_strategy_is_refused(packages: Packages, tmp_path: Path) -> None:
    """An entry point of the group that names something else, or a strategy of another type."""
    packages.install("wrong", "VALUE = 1", "[forecourt.strategies]\nwrong = wrong:VALUE\n")
    path = tmp_path / "policies.toml"
    path.write_text('[default]\nrate_limit = { type = "wrong", most = 3 }\n')
    with pytest.raises(ConfigError, match="must name a Strategy whose limit has this type"):
        JobConfig.from_file(path)
