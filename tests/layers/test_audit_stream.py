"""An audit trail in a stream: many processes keep one, and what is not kept is not done."""

import asyncio

import pytest

from forecourt import AuditStream, ConfigError
from tests.asgi import call, http
from tests.db.service import lived
from tests.layers.test_audit import Audited, wrong
from tests.servers import Valkey

pytestmark = pytest.mark.valkey


async def test_two_processes_keep_one_trail(valkey: Valkey) -> None:
    """Each its own chain, from its first line to the one that says that it is closed; a change is seen."""
    for _ in range(2):
        service = Audited(log=AuditStream(valkey.url))
        async with lived(service.app):
            for number in range(3):
                assert (await service.call(path=f"/records/{number}")).status == 201
    stream = AuditStream(valkey.url)
    lines = await stream.read()
    await stream.close()
    assert (len(lines), wrong(lines)) == (16, [])
    assert wrong([line.replace(b'"record_id":"1"', b'"record_id":"2"') for line in lines]) != []


async def test_what_the_server_does_not_take_is_not_done(valkey: Valkey) -> None:
    """503 while it is away, without the handler; when it is back calls go on, in a new chain."""
    service = Audited(log=AuditStream(valkey.url, "trail"))
    async with lived(service.app):
        assert (await service.call()).status == 201
        valkey.kill()
        assert ((await service.call()).status, service.runs) == (503, 1)
        valkey.start()
        while (await call(service.app, http("/records/42", "PUT"))).status != 201:
            assert service.runs == 1
        assert service.runs == 2


async def test_a_server_that_takes_its_time_is_waited_for(valkey: Valkey) -> None:
    """For longer than a decision may take: a line is kept when a disk has it."""
    service = Audited(log=AuditStream(valkey.url))
    async with lived(service.app):
        assert (await service.call()).status == 201
        with valkey.stalled():
            calling = asyncio.ensure_future(service.call())
            assert not (await asyncio.wait([calling], timeout=0.4))[0]
        assert (await calling).status == 201


async def test_a_stream_that_was_never_asked_is_closed() -> None:
    """And one that was, twice: there is nothing more to let go of."""
    stream = AuditStream("valkey://nowhere.example")
    for _ in range(2):
        await stream.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory://", "audit_log: memory:// keeps nothing; name a server, such as valkey://host:6379"),
        ("redis://:planted@h:x", 'audit_log: "redis://…" is not allowed: a port must be a number from 1 to 65535'),
    ],
)
def test_no_servers(url: str, said: str) -> None:
    """An address that keeps nothing, or means nothing, is refused when it is named, without what may be secret."""
    with pytest.raises(ConfigError) as refused:
        AuditStream(url)
    assert str(refused.value) == said
    assert repr(AuditStream("redis://:planted@h")) == "<AuditStream redis://***@h forecourt:audit>"
