"""Installs tiny distributions for a test: a module and its entry points, in a folder on `sys.path`."""

import importlib
import sys
from pathlib import Path

import pytest


class Packages:
    """A folder of installed packages; `install` adds one, and all are gone after the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(folder)

    def install(self, name: str, source: str, entry_points: str) -> None:
        """Install a distribution of one module, both of this name, with the text of its entry_points.txt."""
        (self._folder / f"{name}.py").write_text(source, "utf-8")
        meta = self._folder / f"{name}-1.0.dist-info"
        meta.mkdir()
        (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
        (meta / "entry_points.txt").write_text(entry_points, "utf-8")
        importlib.invalidate_caches()
        self._monkeypatch.delitem(sys.modules, name, raising=False)

    def imported(self, name: str) -> bool:
        """Whether the module was imported since it was installed."""
        return name in sys.modules
