"""The app that a command is about, imported as servers do."""

import importlib
import sys
from pathlib import Path

from forecourt.errors import ConfigError
from forecourt.types import ASGIApp


def imported(target: str) -> ASGIApp:
    """Import `module:app` as servers do, the working directory first."""
    module, _, variable = target.partition(":")
    if not module or not variable:
        raise ConfigError(f"{target!r} names no app: say module:app, as in main:app")
    sys.path.insert(0, str(Path.cwd()))
    try:
        app: object = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{target!r}: there is no module {error.name!r} to import") from error
    for part in variable.split("."):
        app = getattr(app, part, None)
    if not callable(app):
        raise ConfigError(f"{target!r}: module {module!r} has no app called {variable!r}")
    return app
