"""Serves the example and the flaky server behind it: `python -m examples.quotes`.

PORT is 8000 unless set, the other server's the next one, or UPSTREAM_PORT.
"""

import asyncio
import os
import threading

import uvicorn

from examples.quotes.flaky import Flaky

TRY = """
The quotes service listens on http://127.0.0.1:{port}, the server behind it on {upstream}

  curl -i http://127.0.0.1:{port}/quotes/ACME

Let the other server fail twice: one call that is tried again, and nobody notices.
  curl -sX PUT {upstream}/script -d '[503, 503, 200]'; curl -i http://127.0.0.1:{port}/quotes/ACME

Let it fail for good: five calls hear 502, then 503 at once with Retry-After, and it is left alone.
  curl -sX PUT {upstream}/script -d '["reset"]'
  for i in 1 2 3 4 5 6 7; do curl -s -o /dev/null -w '%{{http_code}} ' http://127.0.0.1:{port}/quotes/ACME; done
  curl -s {upstream}/calls

Let it stall: 504 within a second instead of 5 seconds and a 504 of httpx's own patience.
  sleep 3; curl -sX PUT {upstream}/script -d '["stall"]'
  time curl -s http://127.0.0.1:{port}/quotes/ACME; time curl -s http://127.0.0.1:{port}/bare/ACME

A file passes through in both directions, piece by piece; nothing here holds all of it.
  head -c 20000000 /dev/urandom > chart; curl -sT chart http://127.0.0.1:{port}/charts/may -o /dev/null
  curl -s http://127.0.0.1:{port}/charts/may | cmp - chart && echo the same

Let it come back: within the breaker's wait the quotes are there again.
  curl -sX PUT {upstream}/script -d '[200]'; sleep 3; curl -i http://127.0.0.1:{port}/quotes/ACME

Stop: Ctrl-C
"""


def main() -> None:
    """Serve until Ctrl-C; the other server has a thread of its own, which ends with the process."""
    port = int(os.environ.get("PORT", "8000"))
    upstream = int(os.environ.get("UPSTREAM_PORT", str(port + 1)))
    threading.Thread(target=lambda: asyncio.run(behind(upstream)), daemon=True).start()
    os.environ["QUOTES_UPSTREAM"] = address = f"http://127.0.0.1:{upstream}"
    print(TRY.format(port=port, upstream=address), flush=True)
    uvicorn.run("examples.quotes.app:app", port=port, log_level="warning", access_log=False)


async def behind(port: int) -> None:
    """Serve what is behind the service, for ever."""
    async with Flaky(200).running(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
