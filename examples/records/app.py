"""The service: handlers that only do their work. What protects them stands in policies.toml."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, WebSocket
from fastapi import Path as InPath
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from examples.records.database import Record, Session, create_tables, engine
from forecourt import JobConfig, PolicyMiddleware
from forecourt.integrations.openapi import document_policies

RecordId = Annotated[int, InPath(ge=1, le=2**63 - 1)]
"""As many as SQLite can count."""


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


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Create the table before the first request; close the engine after the last."""
    await create_tables()
    yield
    await engine.dispose()


app = FastAPI(title="Records", lifespan=lifespan)
config = JobConfig.from_file(Path(__file__).with_name("policies.toml"))
app.add_middleware(PolicyMiddleware, config=config)
document_policies(app, config)

records = APIRouter(prefix="/records")
ABSENT: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such record."}}
CHALLENGE = {"WWW-Authenticate": {"description": "How to log in.", "schema": {"type": "string"}}}
WRONG: dict[int | str, dict[str, Any]] = {401: {"description": "That is not the word.", "headers": CHALLENGE}}


@records.get("")
async def list_records(session: Session) -> list[ShownRecord]:
    """List all records."""
    found = await session.scalars(select(Record).order_by(Record.id))
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
    await session.commit()
    return ShownRecord.model_validate(kept)


@records.put("/{record_id}", responses=ABSENT)
async def update_record(record_id: RecordId, record: NewRecord, session: Session) -> ShownRecord:
    """Change a record."""
    kept = await session.get(Record, record_id)
    if kept is None:
        raise HTTPException(404)
    kept.title = record.title
    await session.commit()
    return ShownRecord.model_validate(kept)


app.include_router(records)


@app.post("/login", status_code=204, responses=WRONG)
async def login(credentials: Login) -> None:
    """Let in whoever knows the word; a real service asks its user table."""
    if credentials.password != "open sesame":  # an example's, not a secret
        raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="records"'})


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Say back what is said."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "ok"}
