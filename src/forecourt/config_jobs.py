"""What a config says of jobs: where queues live, and the app that shows jobs, to be mounted.

    app.mount("/jobs", config.jobs, name="jobs")

The routes are there from the start, so that they can be mounted, named and put under policies; what answers them is
bound by the stack.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from forecourt.config_addresses import SCHEMES, redacted, store_address
from forecourt.config_policies import EndpointProtocol, Policies, ResolvedPolicy
from forecourt.core.webhooks import target_of
from forecourt.entry_points import names_in
from forecourt.errors import ConfigError
from forecourt.policies.keys import KeyRing, revealed
from forecourt.policies.offload import BY_HEADER, BY_KEY, DEFAULT_QUEUE, WEBHOOKS, Offload, queue_name
from forecourt.policies.quantities import exact
from forecourt.policies.webhooks import Webhooks
from forecourt.policies.wording import Fault, nearest, refusal, said, spelt

PULSAR = ("pulsar", "pulsar+ssl")
SQLITE = "sqlite"
OWN = "own:"
"""The address of a queue that a function of the config makes."""
BROUGHT = "forecourt.queues"
"""The entry points that are asked for the queue of an address whose scheme is not ours."""

MakesQueue = Callable[..., object]
"""Called with a `jobs.queue.QueueSite`, it returns a `Queue`, for the loop that will open it."""

QueueAddress = str | MakesQueue


class ShowsJobs(Protocol):
    """What answers the endpoints of jobs."""

    async def status(self, request: Request) -> Response:
        """Say how a job stands."""
        ...

    async def list(self, request: Request) -> Response:
        """Return the caller's jobs."""
        ...

    async def events(self, request: Request) -> Response:
        """Stream how a job stands."""
        ...

    async def result(self, request: Request) -> Response:
        """Answer as the handler did."""
        ...

    async def cancel(self, request: Request) -> Response:
        """End a job."""
        ...


class JobsApp(Router):
    """The endpoints `list`, `status`, `cancel`, `events` and `result`, an ASGI app to mount; equal only to itself."""

    def __init__(self) -> None:
        self._bound: ShowsJobs | None = None
        self.shown = Route("/{job_id}", self._status, methods=["GET"], name="status")
        super().__init__(
            [
                Route("/", self._list, methods=["GET"], name="list"),
                self.shown,
                Route("/{job_id}/events", self._events, methods=["GET"], name="events"),
                Route("/{job_id}", self._cancel, methods=["DELETE"], name="cancel"),
                Route("/{job_id}/result", self._result, methods=["GET"], name="result"),
            ]
        )

    def bind(self, shows: ShowsJobs) -> None:
        """Have these endpoints answered; called by the stack of the config."""
        self._bound = shows

    async def _list(self, request: Request) -> Response:
        return await self._bound.list(request) if self._bound else Response(status_code=404)

    async def _events(self, request: Request) -> Response:
        return await self._bound.events(request) if self._bound else Response(status_code=404)

    async def _status(self, request: Request) -> Response:
        return await self._bound.status(request) if self._bound else Response(status_code=404)

    async def _cancel(self, request: Request) -> Response:
        return await self._bound.cancel(request) if self._bound else Response(status_code=404)

    async def _result(self, request: Request) -> Response:
        return await self._bound.result(request) if self._bound else Response(status_code=404)


def queue_addresses(value: object) -> Mapping[str, QueueAddress]:
    """Return the addresses of queues by name; an error shows no more of an address than its scheme."""
    if not isinstance(value, Mapping):
        raise said("must be a table of addresses by the queue's name")
    wrong: list[Fault] = []
    addresses: dict[str, QueueAddress] = {}
    for name, address in value.items():
        try:
            addresses[queue_name(str(name))] = address if callable(address) else queue_address(address)
        except PydanticCustomError as error:
            wrong.append(Fault((str(name),), "", error.message()))
    if wrong:
        raise refusal("queues", wrong)
    return addresses


def queue_address(value: object) -> str:
    """Return a queue's address: a store's, a broker's, a file's, or one that an installed package knows."""
    if hasattr(value, "publish"):
        raise said(
            "is a queue, which belongs to one event loop: give a function that makes one, as in"
            ' queues={"heavy": lambda site: MyQueue(site.clock)}'
        )
    scheme, _, rest = str(value).partition("://")
    if isinstance(value, str) and scheme not in SCHEMES and scheme in names_in(BROUGHT):
        return value
    if not isinstance(value, str) or scheme not in (*PULSAR, SQLITE):
        return store_address(value, also=(*PULSAR, SQLITE, *names_in(BROUGHT)))
    if scheme == SQLITE:
        if not rest.strip("/") or not rest.startswith("/"):
            raise said(
                '"sqlite://…" is not allowed: it must name a file, as in sqlite:///jobs.db or sqlite:////var/jobs.db'
            )
        return value
    parts = urlsplit(value)
    if "@" in parts.netloc or not parts.netloc:
        raise said(f'"{scheme}://…" is not allowed: must be {scheme}://HOST:6650, its token named by ?token=env:NAME')
    if len([each for each in parts.path.split("/") if each]) not in (0, 2):
        raise said(f'"{scheme}://…" is not allowed: after the hosts may follow /TENANT/NAMESPACE')
    for name, values in parse_qs(parts.query, keep_blank_values=True).items():
        if name == "token" and not values[0].startswith(("env:", "file:")):
            raise said(f'"{scheme}://…" is not allowed: its token must be named, as in ?token=env:NAME')
        if name != "token":
            raise said(f'"{scheme}://…" is not allowed: its only option is ?token=env:NAME')
        try:
            revealed(values[0])
        except ValueError as error:
            raise said(f'"{scheme}://…" is not allowed: token: {error}') from None
    return value


def shown_addresses(addresses: Mapping[str, QueueAddress]) -> dict[str, str]:
    """Return the addresses for people."""
    return {name: redacted(address) if isinstance(address, str) else OWN for name, address in addresses.items()}


class EndpointLike(Protocol):
    """What a check needs to know of an endpoint of the app."""

    @property
    def name(self) -> str:
        """The route's name."""
        ...

    @property
    def protocol(self) -> EndpointProtocol:
        """Which scopes it answers."""
        ...

    @property
    def handler(self) -> object | None:
        """What runs."""
        ...


def job_misfits(
    policies: Policies,
    endpoints: Sequence[EndpointLike],
    *,
    queues: Mapping[str, QueueAddress],
    store: str,
    keys: KeyRing | None,
    app: JobsApp,
    webhooks: Webhooks | None = None,
    api_keys: bool = False,
) -> Iterator[str]:
    """Yield a line for each thing that keeps endpoints from being offloaded."""
    if isinstance(getattr(policies.default, "offload", None), Offload):
        yield "default.offload: say which endpoints are jobs by name or glob: the endpoints of jobs would be jobs too"
    mounted = any(endpoint.handler == app.shown.endpoint for endpoint in endpoints)
    for endpoint, offload, place in _offloaded(policies, endpoints):
        if offload.queue not in queues and offload.queue != DEFAULT_QUEUE:
            hint = nearest(offload.queue, queues) or f"; there are {', '.join([DEFAULT_QUEUE, *queues])}"
            yield f'{place}.queue: "{offload.queue}" is not allowed: queues has no such queue{hint}'
        elif keys is None and not address_of(offload.queue, queues, store).startswith("memory:"):
            yield (
                f'{place}: the queue "{offload.queue}" is outside of this process, so jobs must be signed:'
                ' say keys=["env:NAME"], a secret of 32 bytes or more that workers have too'
            )
        if offload.queue == WEBHOOKS:
            yield f'{place}.queue: "{WEBHOOKS}" is the queue of webhooks; take another name'
        if offload.callback is not None:
            yield from _untold(offload, place, queues=queues, store=store, webhooks=webhooks, api_keys=api_keys)
        yield from _brokered(offload, place, address_of(offload.queue, queues, store), store)
        if endpoint.protocol == "websocket":
            yield f"{place}: a WebSocket cannot be a job"
        if not mounted:
            yield (
                f'{place}: nobody could see the job: mount its endpoints, app.mount("/jobs", config.jobs, name="jobs")'
            )


def _untold(
    offload: Offload,
    place: str,
    *,
    queues: Mapping[str, QueueAddress],
    store: str,
    webhooks: Webhooks | None,
    api_keys: bool,
) -> Iterator[str]:
    """Yield why nobody could be told of the job's end."""
    if webhooks is None:
        yield f'{place}.callback: say how messages are signed: webhooks = {{ secrets = ["env:NAME"] }}'
        return
    outside = not address_of(offload.queue, queues, store).startswith("memory:")
    if outside and address_of(WEBHOOKS, queues, store).startswith("memory:"):
        yield (
            f"{place}.callback: webhooks would wait in the memory of each process and be lost with it: give"
            f" queues.{WEBHOOKS} an address, or a store"
        )
    if address_of(WEBHOOKS, queues, store).startswith(PULSAR):
        yield f"{place}.callback: webhooks wait between attempts, which Pulsar cannot: put queues.{WEBHOOKS} elsewhere"
    if offload.callback == BY_KEY:
        if not api_keys:
            yield f'{place}.callback: "{BY_KEY}" is not allowed: there are no api_keys whose records could name it'
    elif offload.callback and not offload.callback.startswith(BY_HEADER):
        try:
            target_of(offload.callback, webhooks.rules())
        except ValueError as error:
            yield f"{place}.callback: {error}, or what `webhooks` allows"


def _brokered(offload: Offload, place: str, address: str, store: str) -> Iterator[str]:
    """Yield what a broker cannot do."""
    if not address.startswith(PULSAR):
        return
    if exact(offload.delay) > 0:
        yield (
            f'{place}.delay: {offload.delay} is not allowed: the queue "{offload.queue}" is on Pulsar, which gives jobs'
            " out in the order they come; leave it out, or use a queue on Redis or Valkey"
        )
    if store.startswith("memory:"):
        yield (
            f'{place}: the queue "{offload.queue}" is on Pulsar, which keeps neither status nor results:'
            " name a store that workers share, such as store=redis://localhost:6379"
        )


def _offloaded(policies: Policies, endpoints: Sequence[EndpointLike]) -> Iterator[tuple[EndpointLike, Offload, str]]:
    for endpoint in endpoints:
        policy = _resolved(policies, endpoint)
        if policy is not None and policy.offload is not None:
            yield endpoint, policy.offload, spelt(("endpoints", endpoint.name, "offload"))


def _resolved(policies: Policies, endpoint: EndpointLike) -> ResolvedPolicy | None:
    try:
        return policies.of(endpoint.name, endpoint.protocol)
    except ConfigError:
        return None  # told already, by the check that is about it


def address_of(queue: str, queues: Mapping[str, QueueAddress], store: str) -> str:
    """Return where a queue lives: as `queues` says, else with the store."""
    address = queues.get(queue, store)
    return address if isinstance(address, str) else OWN
