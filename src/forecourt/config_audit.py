"""What a config must have for an audit trail: where its lines go, and a key that signs them."""

import inspect
import os
from collections.abc import Iterator, Mapping

from forecourt.policies.audit import Audit
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.keys import KeyRing
from forecourt.policies.wording import Place, refused, spelt


def audit_sink(value: object) -> object:
    """Return a path or a sink; the error is a validator's."""
    if value is None or (isinstance(value, str | os.PathLike) and str(value)):
        return value
    if not inspect.iscoroutinefunction(getattr(value, "keep", None)):
        raise refused(value, "must be the path of a file, or in Python an object with `async def keep(lines)`")
    return value


def unsigned(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None, keys: KeyRing | None
) -> Iterator[str]:
    """Tell of an audit without a key to sign its trail."""
    policies: list[tuple[Place, EndpointPolicy]] = [(("default",), default)] if default else []
    policies += [(("endpoints", name), policy) for name, policy in endpoints.items()]
    for place, policy in policies:
        if isinstance(policy.audit, Audit) and keys is None:
            yield (f'{spelt((*place, "audit"))}: its records are signed: say keys=["env:NAME"], 32 bytes or more')
