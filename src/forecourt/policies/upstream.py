"""A server that handlers call, and how those calls are kept from making things worse."""

import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import PlainValidator

from forecourt.policies.circuit_breaker import CircuitBreaker, CircuitBreakerField
from forecourt.policies.retry import Retry, RetryField
from forecourt.policies.timeout import Timeout, TimeoutField
from forecourt.policies.wording import Words, refused, said

_EXAMPLE = "is not an address such as https://payments.internal/v1"
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?")


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise refused(value, "must be an address such as https://payments.internal/v1")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise said(_EXAMPLE) from None
    if parts.scheme not in ("https", "http") or not host:
        raise said(_EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise said("must not carry a user or a password")
    if parts.query or parts.fragment:
        raise said("must not carry a query or a fragment")
    return str(value)


def _hosts(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise refused(value, "must be a list of hosts")
    for host in value:
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise refused(host, 'must be a host without scheme or port, such as "payments.internal"')
    return tuple(str(host).strip("[]").lower() for host in value)


class Upstream(Words):
    """A server that handlers call by `config.upstream(name)`.

    `circuit_breaker`: calls raise `CircuitOpen` while it is open; one that says no name has the upstream's. `retry`:
    calls that failed are made again, unless the endpoint's own calls are. `timeout`: the longest of a call, never past
    the deadline of the request that it is made for. `deadline_hosts`: hosts that are told how many milliseconds are
    left (X-Request-Timeout-Ms).
    """

    base_url: Annotated[str, PlainValidator(_address, json_schema_input_type=str)]
    circuit_breaker: CircuitBreakerField = None
    retry: RetryField = None
    timeout: TimeoutField = None
    deadline_hosts: Annotated[Sequence[str], PlainValidator(_hosts, json_schema_input_type=list[str])] = ()

    @property
    def breaker(self) -> CircuitBreaker | None:
        """The breaker; None when off."""
        return self.circuit_breaker if isinstance(self.circuit_breaker, CircuitBreaker) else None

    @property
    def retrying(self) -> Retry | None:
        """When a call is made again; None when off."""
        return self.retry if isinstance(self.retry, Retry) else None

    @property
    def limit(self) -> Timeout | None:
        """How long a call may take; None when off."""
        return self.timeout if isinstance(self.timeout, Timeout) else None
