"""Opens the databases of a config; SQLAlchemy is imported only when there are any."""

from typing import TYPE_CHECKING

from forecourt.caching.caching import Caching
from forecourt.errors import ConfigError
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp

if TYPE_CHECKING:
    from forecourt.db.databases import Databases


def with_sessions(app: ASGIApp, databases: "Databases | None") -> ASGIApp:
    """Return an app whose jobs have sessions, as calls have; the app itself where there are no databases."""
    if databases is None:
        return app
    from forecourt.db.layer import DatabasesLayer  # noqa: PLC0415  # the extra `db` is optional

    return DatabasesLayer(app, endpoint="", databases=databases, replicas=False)


def databases_of(runtime: Runtime, caching: Caching) -> "Databases":
    """Return the databases that all stacks of one config share; ConfigError where the extra is not installed."""
    try:
        from forecourt.db.databases import databases_of as of  # noqa: PLC0415  # the extra `db` is optional

        return of(runtime, caching)
    except ImportError as error:
        missing = "postgres" if error.name == "asyncpg" else "db"
        raise ConfigError(f"databases: {error.name} is missing: pip install 'forecourt[{missing}]'") from error
