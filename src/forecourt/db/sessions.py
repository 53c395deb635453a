"""`session`: a FastAPI dependency, and a context manager anywhere.

    Session = Annotated[AsyncSession, Depends(session)]                   the main database
    Reports = Annotated[AsyncSession, Depends(session("reports"))]        another
    async with session() as opened: …                                     anywhere, a transaction of its own

As a dependency it is the call's own session: all who ask for it within one call have the same. What it has done is
committed when the answer begins, where that is below 400, and rolled back otherwise. As a context manager it is
committed at the end of the block, and rolled back where the block raises.
"""

import asyncio
import inspect
from types import TracebackType
from typing import overload

from starlette.requests import HTTPConnection

from forecourt.db.alchemy import AsyncSession
from forecourt.db.databases import Databases, running
from forecourt.db.opened import OpenedSession, given_back
from forecourt.db.visits import Visit, visiting
from forecourt.errors import ForecourtError
from forecourt.policies.database import MAIN

_SIGNATURE = inspect.Signature(
    [inspect.Parameter("connection", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)],
    return_annotation=AsyncSession,
)


class SessionOf:
    """Sessions of one database; `primary`: never of its replica."""

    def __init__(self, name: str = MAIN, *, primary: bool = False) -> None:
        self._name = name
        self._primary = primary
        self._inside: dict[asyncio.Task[object] | None, list[OpenedSession]] = {}
        # FastAPI looks at these to learn what to give, and that it is to be awaited.
        self.__signature__ = _SIGNATURE
        self.__dict__["__call__"] = self.of_call

    def __repr__(self) -> str:
        return f"<sessions of {self._name!r}>"

    def __eq__(self, other: object) -> bool:
        """Sessions of one database are one dependency."""
        return isinstance(other, SessionOf) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, bool]:
        return self._name, self._primary

    async def of_call(self, connection: HTTPConnection) -> AsyncSession:
        """Return the session of this call, opening it when it is first asked for."""
        visit = visiting.get()
        if visit is None or visit.over:
            path = connection.scope.get("path", "")
            raise ForecourtError(f"no stack with the database {self._name!r} stands around {path!r}")
        return await _of_visit(visit, self._name, primary=self._primary)

    def __call__(self, connection: HTTPConnection) -> object:
        """Be a dependency: what is returned is to be awaited."""
        return self.of_call(connection)

    async def __aenter__(self) -> AsyncSession:
        """Open a session of the block's own."""
        opened = _databases(self._name).session(self._name)
        self._inside.setdefault(asyncio.current_task(), []).append(opened)
        return opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit or roll back, and give the connection back."""
        task = asyncio.current_task()
        opened = self._inside[task].pop()
        if not self._inside[task]:
            del self._inside[task]
        try:
            if kind is None:
                await opened.commit()
                visit = visiting.get()
                if visit is not None and not visit.over:
                    await visit.wrote(opened)
        finally:
            await given_back([opened])


class Sessions(SessionOf):
    """Sessions of the main database; called with a name, those of another."""

    @overload
    def __call__(self, connection: HTTPConnection) -> object: ...

    @overload
    def __call__(self, connection: str = MAIN, *, primary: bool = False) -> SessionOf: ...

    def __call__(self, connection: HTTPConnection | str = MAIN, *, primary: bool = False) -> object:
        """Return the sessions of a database by its name; given a connection, be a dependency."""
        if isinstance(connection, str):
            return SessionOf(connection, primary=primary)
        return self.of_call(connection)


session = Sessions()
"""Sessions of the main database, see the module."""


def _databases(name: str) -> Databases:
    visit = visiting.get()
    return visit.databases if visit is not None and name in visit.databases else running(name)


async def _of_visit(visit: Visit, name: str, *, primary: bool) -> OpenedSession:
    key = name, primary or not visit.reads
    opened = visit.sessions.get(key)
    if opened is None:
        if key[1]:
            opened = visit.databases.session(name)
        else:
            opened = await visit.databases.reading(name, visit.exchange)
        opened = visit.sessions.setdefault(key, opened)
    return opened
