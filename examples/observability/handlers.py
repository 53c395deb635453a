"""Handlers that only do their work; what is seen of them stands in app.py."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from forecourt.db import session

routes = APIRouter()


@routes.get("/quotes/{symbol}")
async def quote(symbol: str) -> dict[str, str]:
    """Answer, often."""
    return {"symbol": symbol}


@routes.post("/reports")
async def report() -> dict[str, str]:
    """Answer, for credits."""
    return {"report": "made"}


@routes.get("/flaky")
async def flaky() -> None:
    """Answer 503, as a handler does whose upstream is gone."""
    raise HTTPException(503)


@routes.get("/records/{record_id}")
async def record(record_id: int, session: Annotated[AsyncSession, Depends(session)]) -> dict[str, int | None]:
    """Ask the database."""
    return {"id": await session.scalar(select(literal(record_id)))}


@routes.post("/digests")
async def digest() -> dict[str, str]:
    """Answer as a job."""
    return {"digest": "made"}
