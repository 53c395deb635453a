"""No answer carries another caller's mark: generated requests of 50 principals, over several processes and one store.

    python -m tests.soak.cache_marks --requests 1000000 --processes 4

Every handler writes into its answer for whom it was made: the principal, else the cookie or the authorization, else
"anonymous"; the path; the language where it varies on it; and sets a cookie of this one call at times. Whoever finds
something else than their own in an answer has found a leak. Entries live for a blink, so that stale answers are
refreshed in the background, waited for and invalidated all the time.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Cache, EndpointPolicy, JobConfig, PolicyMiddleware
from forecourt.stack import LAYERS
from tests.asgi import Answer, call, http
from tests.layers.records import SignedIn
from tests.servers import Valkey

PRINCIPALS = 50
PATHS = 6
AT_ONCE = 20
LANGUAGES = (None, b"de", b"fr")
KINDS = ("plain", "varying", "cookies", "public", "private", "streamed")


def mark_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return for whom a request is answered."""
    fields = dict(headers)
    if b"x-user" in fields:
        return fields[b"x-user"].decode()
    own = fields.get(b"cookie") or fields.get(b"authorization")
    return own.decode() if own else "anonymous"


def cookie_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the cookie that an answer to this request, and to no other, may set."""
    return f"session={dict(headers)[b'x-call'].decode()}"


async def answer(request: Request) -> Response:
    """Answer with all marks, as the kind of endpoint does."""
    raw = request.scope["headers"]
    mark, kind = mark_of(raw), request.path_params["kind"]
    language = dict(raw).get(b"accept-language", b"none").decode()
    if random.random() < 0.3:
        await asyncio.sleep(random.choice((0, 0.001, 0.005)))
    fields: dict[str, str] = {}
    if kind in ("varying", "public"):
        fields["vary"] = "accept-language"
    if kind == "public":
        fields["cache-control"] = "public, max-age=1"
    if kind == "private":
        fields["cache-control"] = "private"
    if kind == "cookies" and random.random() < 0.5:
        fields["set-cookie"] = cookie_of(raw)
    said = language if "vary" in fields else "any"
    return PlainTextResponse(f"{mark} {request.url.path} {said}", headers=fields)


def stack(url: str, **store: object) -> PolicyMiddleware:
    """Return one process's stack, with who is signed in named as auth will."""
    cache = Cache(ttl=0.2, stale_while_revalidate=0.3, stale_if_error=0.3, tags={"kind:{kind}", "number:{number}"})
    policy = EndpointPolicy(cache=cache, tracing="off", metrics="off", logging="off")
    config = JobConfig(store=url, endpoints={"answer": policy})
    app = Starlette(routes=[Route("/{kind}/{number}", answer, name="answer")])
    inner = PolicyMiddleware(app, config=config, layers=LAYERS[1:], **store)  # type: ignore[arg-type]  # a store
    return PolicyMiddleware(SignedIn(inner), config=config, layers=LAYERS[:1])


def request(chance: random.Random) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Return a path and fields."""
    fields: list[tuple[bytes, bytes]] = []
    own = f"caller{chance.randrange(PRINCIPALS)}".encode()
    match chance.randrange(8):
        case 0 | 1 | 2:
            fields.append((b"x-user", own))
        case 3:
            fields += [(b"x-user", own), (b"cookie", b"other" + own)]
        case 4:
            fields.append((b"cookie", own))
        case 5:
            fields.append((b"authorization", own))
        case _:
            pass
    fields.append((b"x-call", b"%d" % chance.getrandbits(64)))
    if (language := chance.choice(LANGUAGES)) is not None:
        fields.append((b"accept-language", language))
    if chance.random() < 0.05:
        fields.append((b"cache-control", chance.choice((b"no-cache", b"max-stale", b"no-store"))))
    return f"/{chance.choice(KINDS)}/{chance.randrange(PATHS)}", fields


def leak(path: str, fields: Sequence[tuple[bytes, bytes]], found: Answer) -> str | None:
    """Return what in an answer is somebody else's, or None."""
    mark, language = mark_of(fields), dict(fields).get(b"accept-language", b"none").decode()
    said = found.body.decode().split(" ")
    mine = [mark, path, said[2] if said[2] == "any" else language]
    cookie = found.headers.get("set-cookie", cookie_of(fields))
    if said != mine or cookie != cookie_of(fields) or found.status != 200:
        return f"{path} {fields}: {said} {found.headers}"
    return None


async def ask(
    apps: Sequence[PolicyMiddleware], requests: int, seed: int, between: Callable[[], object] = lambda: None
) -> Counter[str]:
    """Make so many requests; return how the cache answered, and every leak under "leak …".

    `between` is called before each request, at which a clock of a test may go on.
    """
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()

    async def one() -> None:
        between()
        path, fields = request(chance)
        found = await call(chance.choice(apps), http(path, headers=fields))
        wrong = leak(path, fields, found)
        outcomes[f"leak {wrong}" if wrong else found.headers["cache-status"].partition("; ttl")[0]] += 1

    async def caller(number: int) -> None:
        for _ in range(number):
            await one()
            if chance.random() < 0.005:
                await chance.choice(apps).config.cache.invalidate(
                    chance.choice((f"number:{chance.randrange(PATHS)}", f"kind:{chance.choice(KINDS)}")),
                    soft=chance.random() < 0.5,
                )

    await asyncio.gather(*[caller(requests // AT_ONCE) for _ in range(AT_ONCE)])
    return outcomes


def leaks(outcomes: Counter[str]) -> list[str]:
    """Return the leaks."""
    return [outcome for outcome in outcomes if outcome.startswith("leak")]


def _process(arguments: tuple[str, int, int]) -> Counter[str]:
    url, requests, seed = arguments

    async def run() -> Counter[str]:
        app = stack(url)
        try:
            return await ask([app], requests, seed)
        finally:
            await app._stop({})

    return asyncio.run(run())


def main() -> None:
    """Run the whole; the exit code says whether anything leaked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    with Valkey() as server, multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        each = given.requests // given.processes
        outcomes = sum(
            pool.map(_process, [(server.url, each, given.seed + at) for at in range(given.processes)]), Counter[str]()
        )
    for outcome, number in outcomes.most_common(20):
        print(f"{number:>9}  {outcome}")
    sys.exit(bool(leaks(outcomes)))


if __name__ == "__main__":
    main()
