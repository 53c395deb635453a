"""One handler that burns CPU. That it is a job stands in policies.toml."""

import hashlib
import os

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

routes = APIRouter()


class Order(BaseModel):
    """What a client sends: a title, and how many thousand rounds of hashing it is worth."""

    title: str = Field(min_length=1, max_length=200)
    rounds: int = Field(default=20, ge=1, le=10_000)


class Report(BaseModel):
    """What a client gets, and which process made it."""

    title: str
    digest: str
    process: int


@routes.post("/reports")
@routes.post("/reports/now", name="make_report_now")
def make_report(order: Order, request: Request) -> Report:
    """Burn CPU, on a thread; say how far it has come."""
    digest = order.title.encode()
    for number in range(order.rounds):
        digest = hashlib.pbkdf2_hmac("sha256", digest, b"salt", 1000)
        request.state.forecourt.progress((number + 1) / order.rounds, f"{number + 1} of {order.rounds}")
    return Report(title=order.title, digest=digest.hex(), process=os.getpid())


@routes.get("/health")
async def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "ok"}
