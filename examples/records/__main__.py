"""Serves the example: `python -m examples.records [--store URL] [--workers N]`; PORT is 8000 unless set."""

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

import uvicorn
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from examples.records.database import fill

TRY = """
The records service listens on http://127.0.0.1:{port} (API docs at /docs). Store: {store}

Who is calling? Without a token 401, without the right scopes or roles 403. Sign one for an hour, for this machine
(and paste it into Authorize at /docs):
  TOKEN=$(.venv/bin/forecourt token --config examples/records/policies.toml \\
    --scope read:records --scope write:records --role editor)
  curl -i http://127.0.0.1:{port}/records/1

Five tokens, one more each second: the sixth quick call is 429 and says how long to wait.
  for i in 1 2 3 4 5 6; do curl -si http://127.0.0.1:{port}/records/1 \\
    -H "authorization: Bearer $TOKEN" | grep -iE '^(HTTP|retry-after|ratelimit)'; done

Two limits that stand or fall together: the third call in a second is 429 and costs none of the hour.
  for i in 1 2 3; do curl -si -X POST http://127.0.0.1:{port}/records -H 'content-type: application/json' \\
    -H "authorization: Bearer $TOKEN" -d '{{"title": "another"}}' | grep -iE '^(HTTP|ratelimit)'; done

A record that is kept: the second call is a hit, and after the write it is not.
  get() {{ curl -si http://127.0.0.1:{port}/records/2 -H "authorization: Bearer $TOKEN"; }}
  for i in 1 2; do get | grep -i '^cache-status'; done
  curl -s -X PUT http://127.0.0.1:{port}/records/2 -H "authorization: Bearer $TOKEN" \\
    -H 'content-type: application/json' -d '{{"title": "changed"}}'; echo
  get | grep -iE '^cache-status|title'

A throttle that delays: the second export waits for its turn, two seconds after the first.
  fetch() {{ curl -s http://127.0.0.1:{port}/records/export -H "authorization: Bearer $TOKEN"; }}; time (fetch; fetch)

Five failed logins a minute: the sixth is 429, whatever the password.
  for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\\n' http://127.0.0.1:{port}/login \\
    -H 'content-type: application/json' -d '{{"name": "ali", "password": "guess"}}'; done

What protects what:  .venv/bin/forecourt show examples.records.app:app     Stop: Ctrl-C
"""


def prepare(url: str) -> None:
    """Create the tables before the workers, which would meet over them."""

    async def create() -> None:
        engine = create_async_engine(url)
        async with AsyncSession(engine) as session, session.begin():
            await fill(session)
        await engine.dispose()

    asyncio.run(create())


def main() -> None:
    """Serve until stopped, on a database of its own that goes with it."""
    parser = argparse.ArgumentParser(prog="demo", description="The records service, protected by its policies.toml.")
    parser.add_argument("--store", default="memory://", help="where limits live, such as redis://127.0.0.1:6379")
    parser.add_argument("--workers", type=int, default=1, help="processes; with memory:// each has limits of its own")
    parser.add_argument("--postgres", metavar="URL", help="a database such as postgresql+asyncpg://user@host/name")
    given = parser.parse_args()
    port = int(os.environ.get("PORT", "8000"))
    os.environ["FORECOURT_STORE"] = given.store
    if given.workers > 1 and given.store.startswith("memory:"):
        print("Each worker counts for itself with memory://; --store redis://… makes limits hold across them.")
    with tempfile.TemporaryDirectory() as folder:
        url = given.postgres or f"sqlite+aiosqlite:///{Path(folder, 'records.sqlite3')}"
        os.environ["RECORDS_DATABASE"] = url
        prepare(url)
        print(TRY.format(port=port, store=given.store.rpartition("@")[2]), flush=True)
        uvicorn.run(
            "examples.records.app:app",
            port=port,
            workers=given.workers,
            log_level="warning",
            access_log=False,
        )


if __name__ == "__main__":
    main()
