"""A handler that only does its work. That it is a job, and what it costs, stands in policies.toml."""

import io
from typing import Annotated

from fastapi import APIRouter, Body, HTTPException, Query, Request, Response
from PIL import Image, UnidentifiedImageError

LARGEST = 40_000_000
"""Pixels of a picture; a small file can hold far more than a worker has memory for."""

STEPS = 4

routes = APIRouter()


@routes.post("/thumbnails", response_class=Response, responses={200: {"content": {"image/webp": {}}}})
def make_thumbnail(
    request: Request,
    picture: Annotated[bytes, Body(media_type="image/png")],
    size: Annotated[int, Query(ge=16, le=1024)] = 256,
) -> Response:
    """Make a picture small enough for a square of `size`, on a thread; say how far it has come."""
    tell = request.state.forecourt.progress
    try:
        image = Image.open(io.BytesIO(picture), formats=("PNG", "JPEG"))
        if image.width * image.height > LARGEST:
            raise HTTPException(422, "This picture has too many pixels.")
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise HTTPException(422, "This is no picture in PNG or JPEG.") from error
    for step in range(1, STEPS + 1):
        image.thumbnail((size * 2 ** (STEPS - step), size * 2 ** (STEPS - step)))
        tell(step / STEPS, f"{image.width} x {image.height}")
    made = io.BytesIO()
    image.convert("RGB").save(made, "WEBP")
    return Response(made.getvalue(), media_type="image/webp")


@routes.get("/health")
async def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "ok"}
