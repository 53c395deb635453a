"""A real PostgreSQL server for tests, from the programs of Debian's package `postgresql`; without them tests skip.

It runs as another user where the tests run as root, on a free port of this machine, and all it wrote goes with its
directory. It can be stopped at once, stalled, and started again.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers import HOST, free_port, until

PLACES = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")


def binaries() -> Path | None:
    """Return the directory of the newest server's programs; None where none is installed."""
    found = sorted(PLACES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """One server; it runs from `start()`, which entering the context calls, to `stop()`.

    `primary`: it is a standby of that running one, by streaming replication.
    """

    def __init__(self, primary: "Postgres | None" = None) -> None:
        self._primary = primary
        programs = binaries()
        assert programs is not None
        self._programs = programs
        self.port = free_port()
        self._user = next(user for user in USERS if _is_known(user)) if os.geteuid() == 0 else None
        self.path = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its database."""
        return f"postgresql+asyncpg://tester@{HOST}:{self.port}/postgres"

    def fresh(self, name: str) -> str:
        """Return the address of an empty database of this name, which no other test uses."""
        place = ("-U", "tester", "-h", HOST, "-p", str(self.port))
        self._run("dropdb", "--if-exists", "--force", *place, name).wait()
        assert self._run("createdb", *place, name).wait() == 0
        return f"{self.url.rpartition('/')[0]}/{name}"

    def __enter__(self) -> Self:
        if self._user is not None:
            shutil.chown(self.path, self._user)
        place = ("-U", "tester", "-N", "-D", str(self.path / "data"))
        if self._primary is None:
            self._run("initdb", *place, "-A", "trust", "--no-locale", "-E", "UTF8").wait()
        else:
            source = ("-h", HOST, "-p", str(self._primary.port))
            self._run("pg_basebackup", *place, *source, "-R", "-c", "fast", "-X", "stream").wait()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.path)

    def start(self) -> None:
        """Start, unless it runs, and return once it answers."""
        if self._process is not None:
            return
        settings = {"fsync": "off", "listen_addresses": HOST, "unix_socket_directories": "", "max_connections": "60"}
        said = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = self._run("postgres", "-D", str(self.path / "data"), "-p", str(self.port), *said)
        until(self._answers, "PostgreSQL")

    def stop(self) -> None:
        """End it at once: connections break off."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        return self._run("pg_isready", "-q", "-h", HOST, "-p", str(self.port)).wait() == 0

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd=self.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )


def _is_known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
