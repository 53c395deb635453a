"""Writes down what operators do: in the audit trail where the config names one, else as a line of the log."""

import json
import logging
from collections.abc import Mapping

from forecourt.audit import trail_of
from forecourt.exchange import Exchange

_log = logging.getLogger("forecourt.audit")


async def write(exchange: Exchange, event: str, fields: Mapping[str, object]) -> None:
    """Return when it is kept; raises what the sink raises. `event` is `begun` or `ended`."""
    runtime = exchange.runtime
    record = {"event": event, "at": runtime.clock.now(), "id": exchange.id, **_who(exchange), **fields}
    if runtime.config.audit_log is None:
        _log.warning("%s", json.dumps(record, separators=(",", ":")))
    else:
        await trail_of(runtime).write(record)


def _who(exchange: Exchange) -> dict[str, object]:
    principal, endpoint = exchange.principal, exchange.endpoint
    return {
        "endpoint": endpoint.name if endpoint else None,
        "principal": {"issuer": principal.issuer, "subject": principal.subject} if principal else None,
        "client": exchange.client,
    }
