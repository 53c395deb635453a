"""Handlers that only do their work. What protects them stands in policies.toml."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.records.database import Record
from forecourt.db import cached, session

Session = Annotated[AsyncSession, Depends(session)]
RecordId = Annotated[int, Path(ge=1, le=2**63 - 1)]
"""As many as SQLite can count."""

ABSENT: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such record."}}
CHALLENGE = {"WWW-Authenticate": {"description": "How to log in.", "schema": {"type": "string"}}}
WRONG: dict[int | str, dict[str, Any]] = {401: {"description": "That is not the word.", "headers": CHALLENGE}}


class NewRecord(BaseModel):
    """What a client sends."""

    title: str = Field(min_length=1, max_length=200)


class ShownRecord(NewRecord):
    """What a client gets."""

    model_config = ConfigDict(from_attributes=True)
    id: int


class Login(BaseModel):
    """A name and a password."""

    name: str
    password: str


records = APIRouter(prefix="/records")
others = APIRouter()


@records.get("")
async def list_records(session: Session) -> list[ShownRecord]:
    """List all records; the rows are kept until one of them changes."""
    found = await cached(session, select(Record).order_by(Record.id), ttl=60)
    return [ShownRecord.model_validate(record) for record in found]


@records.get("/export", response_class=PlainTextResponse)
async def export_records(session: Session) -> StreamingResponse:
    """Stream all records as lines."""
    titles = (await session.scalars(select(Record.title).order_by(Record.id))).all()

    async def lines() -> AsyncIterator[bytes]:
        for title in titles:
            yield title.encode() + b"\n"

    return StreamingResponse(lines(), media_type="text/plain")


@records.get("/{record_id}", responses=ABSENT)
async def get_record(record_id: RecordId, session: Session) -> ShownRecord:
    """Show one record."""
    record = await session.get(Record, record_id)
    if record is None:
        raise HTTPException(404)
    return ShownRecord.model_validate(record)


@records.post("", status_code=201)
async def create_record(record: NewRecord, session: Session) -> ShownRecord:
    """Keep a new record."""
    kept = Record(title=record.title)
    session.add(kept)
    await session.flush()
    return ShownRecord.model_validate(kept)


@records.put("/{record_id}", responses=ABSENT)
async def update_record(record_id: RecordId, record: NewRecord, session: Session) -> ShownRecord:
    """Change a record."""
    kept = await session.get(Record, record_id)
    if kept is None:
        raise HTTPException(404)
    kept.title = record.title
    return ShownRecord.model_validate(kept)


@others.post("/login", status_code=204, responses=WRONG)
async def login(credentials: Login) -> None:
    """Let in whoever knows the word; a real service asks its user table."""
    if credentials.password != "open sesame":  # an example's, not a secret
        raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="records"'})


@others.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Say back what is said."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@others.get("/health")
async def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "ok"}
