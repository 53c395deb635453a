"""Sealed calls over the network: a real server, FastAPI's handlers, compression around it all, and the real clock."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.middleware.gzip import GZipMiddleware

from forecourt import Encryption, EndpointPolicy, Idempotency, JobConfig, PayloadKeys, PolicyMiddleware, Security
from forecourt.client import sealed_client
from forecourt.policies.encryption import Format
from tests.layers.sealed import ByField, Kind, as_bytes, private, public
from tests.servers import HOST, free_port


class Order(BaseModel):
    """What is ordered."""

    amount: int
    note: str = ""


def service(form: Format, kind: Kind) -> FastAPI:
    """Return a service that echoes orders."""
    app = FastAPI()
    sealed = Encryption(request="required", response="required", format=form)
    config = JobConfig(
        authenticators={"field": ByField()},
        payload_keys=PayloadKeys(
            own=[as_bytes(private(kind, "service"))], callers={"field": {"alice": public(private(kind, "alice"))}}
        ),
        default=EndpointPolicy(security=Security(), encryption=sealed, idempotency=Idempotency(required=False)),
    )
    app.add_middleware(PolicyMiddleware, config=config)
    app.add_middleware(GZipMiddleware, minimum_size=100)

    @app.post("/orders/{number}", name="order")
    async def order(number: int, order: Order) -> Order:
        return Order(amount=order.amount + number, note=order.note)

    return app


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """Serve an app; yield its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, HOST, port, log_level="error", lifespan="on"))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize(("form", "kind"), [("jwe", "x25519"), ("hpke", "hybrid")])
async def test_a_sealed_call_over_the_network(form: Format, kind: Kind) -> None:
    """Large and small, right and wrong: what FastAPI says of a wrong order comes sealed too."""
    own, alice = public(private(kind, "service")), private(kind, "alice")
    async with (
        served(service(form, kind)) as address,
        sealed_client(address, service=own, own=alice, format=form, subject="alice") as client,
    ):
        client.headers["x-user"] = "alice"
        small = await client.post("/orders/2?dry=%2F1", json={"amount": 5})
        large = await client.post("/orders/1", json={"amount": 5, "note": "x" * 200_000})
        wrong = await client.post("/orders/1", json={"amount": "many"})
        stranger = await client.post("/orders/1", json={"amount": 1}, headers={"x-user": "carol"})
    assert small.json() == {"amount": 7, "note": ""}
    assert large.json() == {"amount": 6, "note": "x" * 200_000}
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "amount"])
    assert stranger.status_code == 403
    assert json.loads(stranger.content)["type"].endswith("/no-encryption-key")
