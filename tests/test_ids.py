"""Ids are given once, whoever draws them."""

import os
import runpy

import pytest

from forecourt import ids
from forecourt.ids import some_id


def test_ids_are_never_given_twice() -> None:
    """Though they are drawn many at once; a forked child draws its own."""
    given = [some_id() for _ in range(300)]
    assert len({*given}) == 300
    assert {len(each) for each in given} == {24}
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(there, some_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(here, 24).decode() not in {some_id() for _ in range(300)}


def test_ids_are_given_where_no_process_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, whose Python has nothing to call in a child."""
    monkeypatch.delattr(os, "register_at_fork")
    assert len(runpy.run_path(ids.__file__)["some_id"]()) == 24
