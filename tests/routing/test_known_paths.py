"""What a router remembers of paths it has resolved."""

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.convertors import CONVERTOR_TYPES, StringConvertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Host, Mount, Route, Router

from forecourt.routing import RouteTable
from tests.asgi import http


async def get_record(_request: Request) -> Response:
    """Answer nothing."""
    return Response()


class Counted(StringConvertor):
    """A convertor of the app's own, which counts."""

    calls = 0

    def convert(self, value: str) -> str:
        """Return the number of this call."""
        type(self).calls += 1
        return str(self.calls)


@pytest.fixture
def counted() -> Iterator[None]:
    """Make the convertor known to Starlette for one test."""
    CONVERTOR_TYPES["counted"] = Counted()
    yield
    del CONVERTOR_TYPES["counted"]


def test_a_path_is_found_once() -> None:
    """A known path gives the very answer of the first time, its parameters closed to change."""
    table = RouteTable.compile(Starlette(routes=[Route("/records/{record_id:int}", get_record)]))
    first, second, third = (table.resolve(http("/records/7")) for _ in range(3))
    assert first == second
    assert second is third
    assert third.params == {"record_id": 7}
    with pytest.raises(TypeError):
        third.params["record_id"] = 8  # type: ignore[index]  # it must not be possible


def test_methods_and_mounts_are_told_apart() -> None:
    """The same path of another method, or below another root, is another question."""
    routes = [Route("/x", get_record), Mount("/m", routes=[Route("/x", get_record, name="inner")])]
    table = RouteTable.compile(Starlette(routes=routes))
    for _ in range(2):
        assert table.resolve(http("/x", "POST")).endpoint is None
        named = [table.resolve(http(path)).endpoint for path in ("/x", "/m/x")]
        assert [each.name for each in named if each] == ["get_record", "inner"]
        assert table.resolve({**http("/m/x"), "root_path": "/m"}).endpoint is named[0]


def test_what_a_convertor_of_the_app_says_is_asked_each_time(counted: None) -> None:
    """Only Starlette's own convertors are known to answer the same each time."""
    table = RouteTable.compile(Starlette(routes=[Route("/{x:counted}", get_record)]))
    assert [table.resolve(http("/a")).params["x"] for _ in range(3)] == ["1", "2", "3"]


def test_hosts_are_asked_each_time() -> None:
    """What depends on more than protocol, method and path is not remembered."""
    here = Router([Route("/", get_record, name="here")])
    table = RouteTable.compile(Starlette(routes=[Host("here.example", here, name="h")]))
    for host, found in (("here.example", True), ("other.example", False), ("here.example", True)):
        scope = {**http("/"), "headers": [(b"host", host.encode())]}
        assert (table.resolve(scope).endpoint is not None) is found


def test_the_number_of_known_paths_is_bounded() -> None:
    """Ten thousand paths, some of them long, leave at most a thousand behind, none of them long."""
    app = Starlette(routes=[Route("/{rest:path}", get_record)])
    table = RouteTable.compile(app)
    for number in range(10_000):
        assert table.resolve(http(f"/{number}{'x' * (number % 300)}")).endpoint is not None
    known = table.resolve.__self__._known  # type: ignore[attr-defined]  # the compiled router
    assert 0 < len(known) <= 1000
    assert max(len(path) for _, _, path in known) <= 200
