"""Databases for plain handlers: sessions, cached queries, latency. Needs the extra `db` (SQLAlchemy 2, asyncio)."""

from forecourt.db.audit_table import AuditTable
from forecourt.db.latency import record_db_latency
from forecourt.db.queries import Rows, cached
from forecourt.db.sessions import session

__all__ = ["AuditTable", "Rows", "cached", "record_db_latency", "session"]
