"""Handlers that only do their work. What protects them stands in policies.toml."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.service.tables import Record
from forecourt.db import session

Session = Annotated[AsyncSession, Depends(session)]


def tenant_of(request: Request) -> str:
    """Return whose records a caller sees."""
    return str(request.state.forecourt.principal.tenant or "shared")


Tenant = Annotated[str, Depends(tenant_of)]


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


class Digest(BaseModel):
    """What a digest is made of, and how many thousand rounds it is worth."""

    text: str = Field(min_length=1, max_length=10_000)
    rounds: int = Field(default=5, ge=1, le=1000)


routes = APIRouter()


@routes.get("/", response_class=HTMLResponse)
async def guide() -> str:
    """Tell the world what this is."""
    return "<!doctype html><title>Service</title><h1>Records, rates and digests</h1>"


@routes.post("/login")
async def login(credentials: Login) -> dict[str, str]:
    """Let in whoever knows the word; a real service asks its user table."""
    if credentials.password != "open sesame":  # an example's, not a secret
        raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="service"'})
    return {"name": credentials.name}


@routes.get("/records")
async def search_records(
    session: Session, tenant: Tenant, title: Annotated[str, Query(max_length=200)] = ""
) -> list[ShownRecord]:
    """Find a tenant's records by what their titles begin with."""
    wanted = select(Record).where(Record.tenant == tenant, Record.title.startswith(title, autoescape=True))
    return [ShownRecord.model_validate(each) for each in await session.scalars(wanted.order_by(Record.id).limit(100))]


@routes.get("/v1/records")
async def list_records_v1(session: Session, tenant: Tenant) -> list[str]:
    """List titles, as the first version did."""
    return list(await session.scalars(select(Record.title).where(Record.tenant == tenant).order_by(Record.id)))


@routes.get("/records/{record_id}")
async def get_record(record_id: Annotated[int, Path(ge=1, le=2**31)], session: Session, tenant: Tenant) -> ShownRecord:
    """Show one record of the tenant."""
    record = await session.get(Record, record_id)
    if record is None or record.tenant != tenant:
        raise HTTPException(404)
    return ShownRecord.model_validate(record)


@routes.post("/records", status_code=201)
async def create_record(record: NewRecord, session: Session, tenant: Tenant) -> ShownRecord:
    """Keep a new record."""
    kept = Record(title=record.title, tenant=tenant)
    session.add(kept)
    await session.flush()
    return ShownRecord.model_validate(kept)


@routes.post("/pictures", status_code=201)
async def upload(request: Request) -> dict[str, int | str]:
    """Take a picture as it comes, piece by piece; tell how large it was and what it hashes to."""
    size, hashed = 0, hashlib.sha256()
    async for piece in request.stream():
        size += len(piece)
        hashed.update(piece)
    return {"size": size, "sha256": hashed.hexdigest()}


@routes.get("/events")
async def events(number: Annotated[int, Query(ge=1, le=1000)] = 3) -> StreamingResponse:
    """Count in events."""

    async def counted() -> AsyncIterator[bytes]:
        for each in range(number):
            yield b"data: %d\n\n" % each
            await asyncio.sleep(0.05)

    return StreamingResponse(counted(), media_type="text/event-stream")


@routes.post("/hooks/payments", status_code=204)
async def payment_received(request: Request) -> None:
    """Note a payment; that it is the provider's and new has been seen to."""
    await request.json()


@routes.post("/digests")
def make_digest(order: Digest, request: Request) -> dict[str, str]:
    """Burn CPU, on a thread; say how far it has come."""
    digest = order.text.encode()
    for number in range(order.rounds):
        digest = hashlib.pbkdf2_hmac("sha256", digest, b"salt", 1000)
        request.state.forecourt.progress((number + 1) / order.rounds)
    return {"digest": digest.hex()}


@routes.delete("/admin/tenants/{tenant}", status_code=204)
async def remove_tenant(tenant: Annotated[str, Path(max_length=50)], session: Session) -> None:
    """Remove all records of a tenant."""
    await session.execute(delete(Record).where(Record.tenant == tenant))


def rates(client: Callable[[], httpx.AsyncClient]) -> APIRouter:
    """Return the route that asks the other server by this client."""
    router = APIRouter()

    @router.get("/rates/{currency}")
    async def get_rate(currency: Annotated[str, Path(pattern="^[A-Z]{3}$")]) -> dict[str, float]:
        """Ask the other server what a currency costs."""
        answer = await client().get(f"/quotes/{currency}")
        answer.raise_for_status()
        return {currency: answer.json()["price"]}

    return router
