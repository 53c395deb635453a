"""What a job carries to its worker: the request, and the verified principal instead of any credential.

An envelope is `1.<key id>.<HMAC-SHA256>.<JSON>`, or, where the endpoint's policy says `at_rest`, `2.<endpoint>.` and
the sealed JSON, the endpoint in base64url; both are opened, whatever the policy says by then. Whoever can write to the
queue could otherwise invent a principal: so a worker opens only what a key of the ring signed or sealed, for the queue
and the job id that it came under. Headers travel by an allow-list; fields that carry credentials are on none.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from forecourt.core.sealed import VERSION as _SEALED_RESULT
from forecourt.core.sealed import Unopened
from forecourt.errors import ConfigError
from forecourt.policies.keys import KeyRing
from forecourt.principals import Principal
from forecourt.responses import Header
from forecourt.sealing import Seal, seal_by, tenant_of

VERSION, SEALED = b"1", b"2"
PURPOSE = "job envelope"

CARRIED = frozenset(
    {"accept", "accept-language", "baggage", "content-type", "host", "traceparent", "tracestate", "x-request-id"}
)
"""Request fields that every job carries; a policy's `headers` adds others."""

_MOST_SEALS = 1_000
"""Endpoints whose keys are remembered: an envelope may name one that never was."""


_encode = json.JSONEncoder(separators=(",", ":")).encode
"""As `json.dumps` with these separators, which would make an encoder for each job."""


class Forged(Exception):
    """An envelope that no key of the ring signed, or that is for another job, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Refund:
    """What the job's caller paid, to which account's key, and for which outcomes it is given back."""

    key: str
    amount: int
    outcomes: frozenset[str]
    journal: int


class Callback(NamedTuple):
    """Who is told of a job's end: an address, whose secrets sign (empty: the service's own), and the job's place.

    `at_rest`: what waits to be told is sealed, as the job is.
    """

    url: str
    owner: str
    location: str = ""
    at_rest: bool = False


class Delivery(NamedTuple):
    """A job of ours: to look whether a job has ended (`watch`), to post a message, or to note that nobody wants any."""

    kind: Literal["watch", "post", "gone"]
    job: str
    callback: Callback
    message: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The request of one job; `timeout` in µs for one attempt (0: none), `max_result` in bytes."""

    endpoint: str
    method: str
    path: str
    query: bytes
    root_path: str
    scheme: str
    headers: tuple[Header, ...]
    body: bytes
    principal: Principal | None = None
    client: str = ""
    timeout: int = 0
    max_result: int = 1 << 20
    refund: Refund | None = None
    callback: Callback | None = None
    delivery: Delivery | None = None
    at_rest: bool = False
    """Whether it and its result are sealed."""


class Envelopes:
    """Signs or seals, and opens, the envelopes of one queue, and the results of its jobs."""

    def __init__(self, ring: KeyRing, queue: str) -> None:
        self._ring = ring
        self._queue = queue
        self._seals: dict[tuple[str, str], Seal] = {}

    def seal(self, job: str, request: JobRequest) -> bytes:
        """Return the envelope of a job, signed, or sealed where the request says so."""
        text = _encode(_written(request)).encode()
        if request.at_rest:
            sealed = self._seal("job", request.endpoint).seal(text, self._stored(job))
            return b".".join((SEALED, base64.urlsafe_b64encode(request.endpoint.encode()), sealed))
        name, signature = self._ring.sign(PURPOSE, self._signed(job, text))
        return b".".join((VERSION, name.encode(), signature.encode(), text))

    def open(self, job: str, envelope: bytes) -> JobRequest:
        """Return the request of a job; Forged where that is not what was sealed for it."""
        if envelope.startswith(SEALED + b"."):
            return self._opened(job, envelope)
        parts = envelope.split(b".", 3)
        if len(parts) != 4 or parts[0] != VERSION:
            raise Forged("not an envelope of this version")
        _, name, signature, text = parts
        told = (name.decode("latin-1"), signature.decode("latin-1"))
        if not self._ring.verify(PURPOSE, *told, self._signed(job, text)):
            raise Forged("no key of the ring signed this for this job")
        return _read(json.loads(text))

    def kept(self, job: str, request: JobRequest, result: bytes) -> bytes:
        """Return a result as the queue keeps it: sealed where the request was."""
        if not request.at_rest:
            return result
        whose = json.dumps(tenant_of(request.principal)).encode()
        return self._seal("result", request.endpoint).seal(whose + b"\n" + result, self._stored(job))

    def result(self, job: str, endpoint: str, stored: bytes, tenant: str | None, *, at_rest: bool) -> bytes:
        """Return the result that `kept` was given; ValueError where it does not open, or is another tenant's.

        A plain one is a ValueError too where the endpoint's results are to be sealed.
        """
        if at_rest and not stored.startswith(_SEALED_RESULT):
            raise Unopened
        whose, result = self._result(job, endpoint, stored)
        if whose is not None and json.loads(whose) != tenant:
            raise Unopened
        return result

    def any_result(self, job: str, endpoint: str, stored: bytes) -> bytes:
        """Return the result that `kept` was given, to an operator; ValueError where it does not open."""
        return self._result(job, endpoint, stored)[1]

    def _result(self, job: str, endpoint: str, stored: bytes) -> tuple[bytes | None, bytes]:
        if not stored.startswith(_SEALED_RESULT):
            return None, stored
        whose, _, result = self._seal("result", endpoint).open(stored, self._stored(job)).partition(b"\n")
        return whose, result

    def _opened(self, job: str, envelope: bytes) -> JobRequest:
        try:
            _, named, sealed = envelope.split(b".", 2)
            endpoint = base64.urlsafe_b64decode(named).decode()
            text = self._seal("job", endpoint).open(sealed, self._stored(job))
        except (ConfigError, ValueError):
            raise Forged("no key of the ring sealed this for this job") from None
        return replace(_read(json.loads(text)), at_rest=True)

    def _seal(self, layer: str, endpoint: str) -> Seal:
        seal = self._seals.get((layer, endpoint))
        if seal is None:
            seal = seal_by(self._ring, layer, endpoint)
            if len(self._seals) < _MOST_SEALS:
                self._seals[layer, endpoint] = seal
        return seal

    def _stored(self, job: str) -> str:
        return f"{self._queue}\n{job}"

    def _signed(self, job: str, text: bytes) -> bytes:
        return b"\n".join((VERSION, self._queue.encode(), job.encode(), text))


def carried(headers: Iterable[Header], also: frozenset[str]) -> tuple[Header, ...]:
    """Return the fields of a request that a job carries, names in lower case."""
    names = CARRIED | also
    return tuple((name, value) for name, value in headers if name.decode("latin-1").lower() in names)


def _written(request: JobRequest) -> dict[str, object]:
    principal, refund = request.principal, request.refund
    written: dict[str, object] = {
        "endpoint": request.endpoint,
        "method": request.method,
        "path": request.path,
        "query": request.query.decode("latin-1"),
        "root_path": request.root_path,
        "scheme": request.scheme,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers],
        "body": base64.b64encode(request.body).decode(),
        "client": request.client,
        "timeout": request.timeout,
        "max_result": request.max_result,
    }
    if principal:
        lists = {"scopes": sorted(principal.scopes), "roles": sorted(principal.roles)}
        texts = {name: getattr(principal, name) for name in ("issuer", "subject", "tenant", "tier")}
        written["principal"] = texts | lists
    if refund:
        written["refund"] = [refund.key, refund.amount, sorted(refund.outcomes), refund.journal]
    if request.callback:
        written["callback"] = list(request.callback)
    if request.delivery:
        written["delivery"] = [list(each) if isinstance(each, tuple) else each for each in request.delivery]
    return written


def _read(written: dict[str, Any]) -> JobRequest:
    principal, refund, callback = (written.get(name) for name in ("principal", "refund", "callback"))
    return JobRequest(
        endpoint=written["endpoint"],
        method=written["method"],
        path=written["path"],
        query=written["query"].encode("latin-1"),
        root_path=written["root_path"],
        scheme=written["scheme"],
        headers=tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in written["headers"]),
        body=base64.b64decode(written["body"]),
        principal=_principal(principal) if principal else None,
        client=written["client"],
        timeout=written["timeout"],
        max_result=written["max_result"],
        refund=Refund(refund[0], refund[1], frozenset(refund[2]), refund[3]) if refund else None,
        callback=Callback(*callback) if callback else None,
        delivery=_delivery(written.get("delivery")),
    )


def _delivery(written: Any) -> Delivery | None:
    if not written:
        return None
    kind, job, callback, message, attempt = written
    return Delivery(kind, job, Callback(*callback), message, attempt)


def _principal(written: dict[str, Any]) -> Principal:
    return Principal(
        written["issuer"],
        written["subject"],
        written["tenant"],
        written["tier"],
        frozenset(written["scopes"]),
        frozenset(written["roles"]),
    )
