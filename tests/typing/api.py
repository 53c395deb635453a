"""The public API as users' type checkers see it. mypy reads this file (`scripts/check`); it is never run.

What must be accepted stands here as a user would write it, what is inferred in an `assert_type`. What must be
refused carries a `type: ignore` with its code, which mypy calls unused as soon as the mistake is accepted.
Use only names that are public: `forecourt` itself, and modules that the docs name.
"""

from typing import assert_type

import forecourt

assert_type(forecourt.__version__, str)
assert_type(forecourt.__all__, list[str])
