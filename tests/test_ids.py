"""Ids are given once, whoever draws them."""

import os

from forecourt.ids import some_id


def test_ids_are_never_given_twice() -> None:
    """Though they are drawn many at once; a forked child draws its own."""
    ids = [some_id() for _ in range(300)]
    assert len({*ids}) == 300
    assert {len(each) for each in ids} == {24}
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(there, some_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(here, 24).decode() not in {some_id() for _ in range(300)}
