"""A process of a service whose records are sealed by a ring file; it answers calls that come in by lines.

python -m tests.soak.rotation_worker URL RING     each line {"call": "pay"|"record", "key": …} is answered by one line
"""

import asyncio
import json
import sys
from typing import TextIO

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Cache, Encryption, EndpointPolicy, Idempotency, JobConfig, PolicyMiddleware, Security
from tests.asgi import call, http
from tests.layers.sealed import ByField
from tests.layers.stored import patient
from tests.services import starlette


class Process:
    """The service as one process has it, from one start to the next."""

    def __init__(self, url: str, ring: str) -> None:
        policy = EndpointPolicy(encryption=Encryption(at_rest=True), security=Security(), logging="off")
        config = JobConfig(
            store=url,
            keys=[f"file:{ring}"],
            authenticators={"field": ByField()},
            default=policy,
            endpoints={
                "pay": EndpointPolicy(idempotency=Idempotency(max_records=1_000_000)),
                "record": EndpointPolicy(cache=Cache(ttl=3600)),
            },
        )
        routes = [Route("/pay", self._run, methods=["POST"], name="pay"), Route("/record", self._run, name="record")]
        self.app = starlette(config, *routes, store=patient(url))
        self.ids = config.key_ring.ids() if config.key_ring else ()

    async def answered(self, asked: dict[str, str]) -> dict[str, object]:
        """Return status, body and whether it was stored before."""
        fields = [(b"x-user", b"alice"), (b"idempotency-key", asked["key"].encode())]
        is_payment = asked["call"] == "pay"
        scope = http("/pay" if is_payment else "/record", "POST" if is_payment else "GET", headers=fields)
        answer = await call(self.app, {**scope, "query_string": asked["key"].encode()})
        stored = "idempotent-replayed" in answer.headers or "hit" in answer.headers.get("cache-status", "")
        return {"status": answer.status, "body": answer.body.decode(), "stored": stored, "ids": self.ids}

    async def stop(self) -> None:
        """Let go of the store."""
        installed = self.app.middleware_stack
        while installed is not None and not isinstance(installed, PolicyMiddleware):
            installed = getattr(installed, "app", None)
        if isinstance(installed, PolicyMiddleware):
            await installed._stop({})

    async def _run(self, request: Request) -> Response:
        return PlainTextResponse(f"done for {request.url.query}")


async def main(url: str, ring: str, asked: TextIO, told: TextIO) -> None:
    """Answer until there is nothing more; `restart` reads the ring again, as a new process would."""
    process = Process(url, ring)
    while line := await asyncio.to_thread(asked.readline):
        if line.strip() == "restart":
            await process.stop()
            process = Process(url, ring)
            answer: dict[str, object] = {"ids": process.ids}
        else:
            answer = await process.answered(json.loads(line))
        print(json.dumps(answer), file=told, flush=True)
    await process.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.stdin, sys.stdout))
