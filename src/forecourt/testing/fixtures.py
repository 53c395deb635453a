"""Fixtures for pytest: say `pytest_plugins = ["forecourt.testing.fixtures"]` in the `conftest.py` of your tests.

It is no entry point: pytest would import forecourt in each run of the environment, before coverage begins.
"""

import pytest

from forecourt.testing import FakeClock, FakeIssuer


@pytest.fixture
def forecourt_clock() -> FakeClock:
    """Return a clock of this test alone, which stands still until the test advances it."""
    return FakeClock()


@pytest.fixture
def forecourt_issuer(forecourt_clock: FakeClock) -> FakeIssuer:
    """Return an issuer that signs by this clock: `JobConfig(issuers=[forecourt_issuer.policy])`. Needs extra `auth`."""
    return FakeIssuer(clock=forecourt_clock)
