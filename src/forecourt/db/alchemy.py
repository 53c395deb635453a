"""What is used of SQLAlchemy, which is imported here alone: the extra `db`."""

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    delete,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import Connection, Dialect, ExceptionContext
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapper, Session, SessionTransaction, UOWTransaction
from sqlalchemy.sql import Delete, Insert, Select, Update, text
from sqlalchemy.sql.cache_key import CacheKey
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import CompoundSelect
from sqlalchemy.sql.schema import Table
from sqlalchemy.sql.util import find_tables
from sqlalchemy.util import await_only

__all__ = [
    "AsyncEngine",
    "AsyncSession",
    "BigInteger",
    "CacheKey",
    "Column",
    "CompoundSelect",
    "Connection",
    "DBAPIError",
    "Delete",
    "Dialect",
    "ExceptionContext",
    "ExecutionContext",
    "Insert",
    "Integer",
    "IntegrityError",
    "LargeBinary",
    "Mapper",
    "MetaData",
    "OperationalError",
    "PoolTimeout",
    "SQLCompiler",
    "Select",
    "Session",
    "SessionTransaction",
    "String",
    "Table",
    "Text",
    "UOWTransaction",
    "Update",
    "await_only",
    "create_async_engine",
    "delete",
    "event",
    "find_tables",
    "insert",
    "inspect",
    "select",
    "text",
]
