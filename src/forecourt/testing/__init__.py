"""For tests of services that use forecourt: a clock that stands still, an issuer that signs, a stack without I/O.

`store_contract` beside them has the tests that every store passes, `fixtures` is a plugin for pytest; both need pytest.
"""

from forecourt.testing.clock import FakeClock
from forecourt.testing.issuer import FakeIssuer
from forecourt.testing.under_test import Answer, UnderTest, decisions

__all__ = ["Answer", "FakeClock", "FakeIssuer", "UnderTest", "decisions"]
