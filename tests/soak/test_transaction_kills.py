"""The short form of `scripts/soak transaction-kills`."""

import pytest

from tests.core.bench import examples
from tests.postgres import Postgres
from tests.servers import Valkey
from tests.soak.transaction_kills import run


@pytest.mark.slow
@pytest.mark.valkey
def test_killed_workers_leave_each_work_once(valkey: Valkey, sqlite: str, postgres: Postgres) -> None:
    """Who asks again has the answer of what was committed, or it is carried out once."""
    code, said = run(examples(2), [sqlite, postgres.url], valkey.url)
    assert (code, said.count("every work is there once")) == (0, 2), said
