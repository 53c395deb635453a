"""Work that outlives its caller; how calls leave it is in tests/layers/test_idempotency_work.py."""

import asyncio

from forecourt.works import Works


async def test_draining_waits_for_what_work_begins() -> None:
    """Work that begins more work is waited for to the end; other loops' work is not ours."""
    works, done = Works(), []

    async def second() -> None:
        await asyncio.sleep(0)
        done.append(2)

    async def first() -> None:
        await asyncio.sleep(0)
        works.leave(works.start(second(), "second"))
        done.append(1)

    task = works.start(first(), "first")
    works.leave(task)
    assert repr(works) == "<Works: 1 at work>"
    await works.drain()
    assert done == [1, 2]
    await works.drain()
