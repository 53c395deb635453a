"""A service that writes into each answer for whom it was made, and what of that somebody else's answer would show.

A body is five words: the mark of whom it is shared with, the place that was asked for, what the request says in each of
the two fields that answers vary on (`any` where this one does not), and the call (`-` where others may have it too).
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forecourt import Cache, EndpointPolicy, JobConfig, PolicyMiddleware
from forecourt.exchange import exchange_of
from forecourt.principals import Principal
from forecourt.stack import LAYERS
from forecourt.types import Receive, Scope, Send
from tests.asgi import Answer


class Kind(NamedTuple):
    """How a handler answers: with these fields (`{call}`: this call's own), for this call alone or for others too.

    `odds`: how often; else as a plain one. `safe_only`: it is not kept in the profile `safe`, and may be in `rfc9111`.
    """

    fields: Mapping[str, str] = {}
    alone: bool = False
    status: int = 200
    odds: float = 1
    safe_only: bool = False


KINDS: Mapping[str, Kind] = {
    "plain": Kind(),
    "streamed": Kind(),
    "shifting": Kind(),
    "varying": Kind({"vary": "accept-language"}),
    "public": Kind({"cache-control": "public, max-age=1", "vary": "accept-language"}),
    "cookies": Kind({"set-cookie": "session={call}"}, alone=True, odds=0.5),
    "kept-cookies": Kind({"set-cookie": "session={call}", "cache-control": 'no-cache="set-cookie", max-age=1'}),
    "private": Kind({"cache-control": "private, max-age=1"}, alone=True, odds=0.5),
    "private-fields": Kind({"cache-control": 'private="x-mine", max-age=1', "x-mine": "{call}"}),
    "no-store": Kind({"cache-control": "no-store, max-age=1"}, alone=True, odds=0.5),
    "no-cache": Kind({"cache-control": "no-cache, max-age=1"}, alone=True, odds=0.5),
    "star": Kind({"vary": "*"}, alone=True, odds=0.5),
    "partial": Kind({"content-range": "bytes 0-9/99", "cache-control": "max-age=1"}, alone=True, status=206),
    "short": Kind({"content-length": "9999"}, alone=True),
    "events": Kind({"content-type": "text/event-stream"}, alone=True),
    "standing": Kind({"ratelimit": "{call}", "retry-after": "{call}"}),
    "hops": Kind({"connection": "x-hop", "x-hop": "{call}", "proxy-authenticate": "{call}"}),
    "encoded": Kind({"content-encoding": "own"}, alone=True, odds=0.5, safe_only=True),
    "failing": Kind({"cache-control": "max-age=1"}, alone=True, status=503, odds=0.5, safe_only=True),
    "challenging": Kind(
        {"www-authenticate": "Basic", "cache-control": "max-age=1"}, alone=True, status=401, odds=0.5, safe_only=True
    ),
}
OWN_FIELDS = ("set-cookie", "x-mine", "x-hop", "ratelimit", "retry-after", "proxy-authenticate")
"""Fields that only the call may find in its answer that they were made for."""

PARTITIONS: Mapping[str, Cache] = {
    "safe": Cache(),
    "tenant": Cache(partition="tenant"),
    "scopes": Cache(partition="scopes"),
    "everyone": Cache(partition="everyone"),
    "anonymous": Cache(partition="anonymous"),
    "keyed": Cache(vary=("x-key",)),
    "rfc9111": Cache(profile="rfc9111"),
}


class Caller(NamedTuple):
    """Who asks, as a request says it."""

    user: str = ""
    role: str = ""
    cookie: str = ""
    authorization: str = ""
    key: str = ""

    @property
    def principal(self) -> Principal | None:
        """What auth would find: users of an even number have another issuer, the first letter is the tenant."""
        if not self.user:
            return None
        issuer = f"https://issuer{int(self.user[1:]) % 2}"
        return Principal(issuer, f"user{int(self.user[1:]) // 2}", tenant=self.user[0], roles=frozenset({self.role}))


def mark(where: str, kind: str, principal: Principal | None, caller: Caller) -> str:
    """Return with whom the answer to a caller may be shared, in a partition; what is public does not look at them."""
    if where == "everyone":
        return "everyone"
    if principal is None:
        own = "" if where == "rfc9111" else caller.cookie
        own = own or ("" if kind == "public" else caller.authorization)
        return f"{own or 'anonymous'}{caller.key if where == 'keyed' else ''}"
    if where == "tenant":
        return str(principal.tenant)
    if where == "scopes":
        return "+".join(principal.roles)
    own = f"{principal.issuer}/{principal.subject}/{'+'.join(principal.roles)}"
    return f"{own}{caller.key if where == 'keyed' else ''}"


class Asked(NamedTuple):
    """One request."""

    where: str
    kind: str
    place: str
    caller: Caller
    fields: Sequence[tuple[bytes, bytes]]


async def answer(request: Request) -> Response:
    """Answer with all marks, as the kind of endpoint does."""
    raw = {name.decode(): value.decode() for name, value in request.scope["headers"]}
    where, name = request.scope["path"].split("/")[1], request.path_params["kind"]
    kind = KINDS[name]
    if (kind.safe_only and where == "rfc9111") or random.random() >= kind.odds:
        kind = KINDS["plain"]
    if random.random() < 0.3:
        await asyncio.sleep(random.choice((0, 0.001, 0.005)))
    call = raw["x-call"]
    fields = {field: value.format(call=call) for field, value in kind.fields.items()}
    if name == "shifting":
        fields["vary"] = random.choice(("accept-language", "x-flavour"))
    alone = kind.alone or "no-store" in raw.get("cache-control", "")
    caller = Caller("", "", raw.get("cookie", ""), raw.get("authorization", ""), raw.get("x-key", ""))
    whose = mark(where, name, exchange_of(request.scope).principal, caller)
    said = [raw.get(field, "none") if field in fields.get("vary", "") else "any" for field in VARIED]
    body = " ".join((whose, place(request.scope), *said, call if alone else "-")).encode()
    fields.setdefault("content-type", "text/plain")
    if name == "streamed":
        return Pieces(body, 200, fields)
    return Response(body, kind.status, fields)


VARIED = ("accept-language", "x-flavour")


class Pieces(Response):
    """An answer whose length nobody says, piece by piece."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        fields = [header for header in self.raw_headers if header[0] != b"content-length"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": fields})
        for at in range(0, len(self.body), 20):
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": self.body[at : at + 20], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def place(scope: Scope) -> str:
    """Return what a request asks for: host, path and query."""
    host = dict(scope["headers"])[b"host"].decode()
    return f"{host}{scope['path']}?{scope['query_string'].decode()}"


def leak(asked: Asked, found: Answer) -> str | None:
    """Return what in an answer is somebody else's, or None."""
    own, fields = dict(asked.fields), found.headers
    call, mine = own[b"x-call"].decode(), mark(asked.where, asked.kind, asked.caller.principal, asked.caller)
    said = found.body.decode().split(" ")
    if len(said) != 5:
        return f"{asked}: {found.status} {said}"
    shared = {mine, "anonymous"} if asked.where == "rfc9111" and asked.caller.principal is None else {mine}
    wrong = [said[0] not in shared, said[1] != asked.place]
    wrong += [
        value not in ("any", own.get(field.encode(), b"none").decode())
        for field, value in zip(VARIED, said[2:4], strict=True)
    ]
    wrong.append(said[4] not in ("-", call))
    wrong += [call not in fields[field] for field in OWN_FIELDS if field in fields]
    wrong.append(found.status != 200 and said[4] != call)
    if asked.caller.user and "cache-control" not in KINDS[asked.kind].fields:
        wrong.append("private" not in fields.get("cache-control", ""))
    return f"{asked}: {found.status} {said} {fields}" if any(wrong) else None


class SignedIn:
    """Stands where auth does: the caller is who `x-user` and `x-role` say."""

    def __init__(self, app: PolicyMiddleware) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the principal and call on."""
        raw = dict(scope.get("headers", ()))
        user, role = (raw.get(name, b"").decode() for name in (b"x-user", b"x-role"))
        exchange_of(scope).principal = Caller(user, role).principal
        await self.app(scope, receive, send)


def stack(url: str, **store: object) -> PolicyMiddleware:
    """Return one process's stack, with who is signed in named as auth will."""
    times = {"ttl": 0.1, "stale_while_revalidate": 0.6, "stale_if_error": 0.6}
    tags = {"kind:{kind}", "number:{number}"}
    endpoints = {
        name: EndpointPolicy(
            cache=cache.model_copy(update={**times, "tags": tags}), tracing="off", metrics="off", logging="off"
        )
        for name, cache in PARTITIONS.items()
    }
    config = JobConfig(store=url, endpoints=endpoints)
    app = Starlette(routes=[Route(f"/{name}/{{kind}}/{{number}}", answer, name=name) for name in PARTITIONS])
    inner = PolicyMiddleware(app, config=config, layers=LAYERS[1:], **store)  # type: ignore[arg-type]  # a store
    return PolicyMiddleware(SignedIn(inner), config=config, layers=LAYERS[:1])
