"""A real broker of Pulsar's protocol for tests, from the binary that the package `pulsar-lite` carries.

    with Pulsar() as broker: …    a broker on a free port; it keeps its messages over `kill()` and `start()`

It is ended by its process id, and everything it wrote goes with its directory.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from forecourt.jobs.pulsar import PulsarBroker
from tests.servers import HOST, STARTING, free_port, until


def binary() -> Path:
    """Return where the broker is; the test is skipped where it cannot be installed."""
    found = importlib.util.find_spec("pulsar_lite")
    if found is None or found.origin is None or importlib.util.find_spec("pulsar") is None:
        pytest.skip("pulsar-lite has no wheel for this machine")
    return Path(found.origin).parent / "bin" / "pulsar-lite"


class Connection(PulsarBroker):
    """A connection to pulsar-lite that may be the second of its subscription.

    pulsar-lite tells the consumers of a subscription apart by the number that each client gives to its own, counting
    from 0, and refuses a second of the same number; Pulsar tells them apart by their connection. So this one has as
    many consumers before that nobody uses.
    """

    def __init__(self, address: str, namespace: str, name: str, number: int) -> None:
        super().__init__(address, namespace, name)
        self.number = number
        self.unused: list[object] = []

    async def open(self) -> None:
        """Open, as another consumer than those of other numbers."""
        await super().open()
        for each in range(self.number):
            topic = f"persistent://public/default/unused-{os.getpid()}-{self.number}-{each}"
            self.unused.append(await self._client.subscribe(topic, "unused"))


class Pulsar:
    """One broker; it can be started again: same port, same messages."""

    def __init__(self) -> None:
        self._binary = binary()
        self.port = free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="pulsar-")
        self.path = Path(self._directory.name)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._directory.cleanup()

    @property
    def url(self) -> str:
        """The queue's address."""
        return f"pulsar://{HOST}:{self.port}"

    def start(self) -> None:
        """Start, and return once it listens."""
        command = [
            str(self._binary),
            "--addr",
            f"{HOST}:{self.port}",
            "--db-path",
            str(self.path / "db"),
            "--log-level",
            "warn",
        ]
        with (self.path / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.path)
        until(self._listens, f"the start of {self.url}")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(STARTING)
            self._process = None

    def resets(self) -> int:
        """Return how many connections were reset; what they had is given to nobody until the next start."""
        return (self.path / "log").read_text(errors="replace").count("Connection reset by peer")

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise ChildProcessError((self.path / "log").read_text(errors="replace")[-2000:])
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0
