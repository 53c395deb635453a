"""The thumbnails example as people run it: a picture is uploaded, and its thumbnail is a job's result."""

import asyncio
import io

import httpx
import pytest
from PIL import Image

from forecourt.core.webhooks import secrets_for
from forecourt.principals import digest
from tests.e2e.demos import answered, served
from tests.jobs.receivers import SECRET, Receiver
from tests.servers import Valkey

PNG = {"content-type": "image/png"}


def picture(width: int, height: int, form: str = "PNG") -> bytes:
    """Return a picture's bytes."""
    made = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(made, form)
    return made.getvalue()


@pytest.mark.slow
@pytest.mark.valkey
async def test_a_thumbnail_is_a_job(valkey: Valkey) -> None:
    """From 202 to the picture, made by another process; its end is told; what is no picture costs nothing."""
    with served("thumbnails", valkey.url) as address:
        async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client, Receiver() as receiver:
            await answered(client)
            text = await client.post("/thumbnails", content=b"hello", headers={"content-type": "text/plain"})
            assert text.status_code == 415
            headers = PNG | {"x-callback": receiver.url}
            job = await client.post("/thumbnails?size=64", content=picture(900, 600), headers=headers)
            assert job.status_code == 202
            shown = await _ended(client, job.headers["location"])
            assert (shown["status"], shown["attempts"]) == ("succeeded", 1)
            result = await client.get(f"{job.headers['location']}/result")
            assert result.headers["content-type"] == "image/webp"
            assert Image.open(io.BytesIO(result.content)).size == (64, 43)
            async with asyncio.timeout(30):
                while not receiver.bodies:
                    await asyncio.sleep(0.02)
            receiver.verify(0, secrets_for(digest("client", "127.0.0.1"), [SECRET])[0])
            photo = {"content-type": "image/jpeg", "prefer": "wait=20"}
            direct = await client.post("/thumbnails", content=picture(300, 300, "JPEG"), headers=photo)
            assert (direct.status_code, Image.open(io.BytesIO(direct.content)).size) == (200, (256, 256))
            wrong = await client.post("/thumbnails", content=b"no picture", headers=PNG | {"prefer": "wait=20"})
            assert wrong.status_code == 422


async def _ended(client: httpx.AsyncClient, location: str) -> dict[str, object]:
    async with asyncio.timeout(60):
        while True:
            shown: dict[str, object] = (await client.get(location)).json()
            if shown["status"] not in ("queued", "running"):
                return shown
            await asyncio.sleep(0.05)
