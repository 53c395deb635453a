"""What a config must have so that records can be sealed: keys, and the extra that brings the cipher."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from forecourt.policies.encryption import Encryption
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.keys import KeyRing
from forecourt.policies.wording import Place, spelt

MISSING = "needs cryptography: pip install 'forecourt[encryption]'"


def unsealable(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None, keys: KeyRing | None
) -> Iterator[str]:
    """Tell of each `at_rest` that has no key to seal by, or nothing to seal with."""
    policies: list[tuple[Place, EndpointPolicy]] = [(("default",), default)] if default else []
    policies += [(("endpoints", name), policy) for name, policy in endpoints.items()]
    for place, policy in policies:
        if not isinstance(policy.encryption, Encryption) or not policy.encryption.at_rest:
            continue
        at = spelt((*place, "encryption", "at_rest"))
        if keys is None:
            yield f'{at}: records are sealed by keys: say keys=["env:NAME"], 32 bytes or more'
        if not installed():
            yield f"{at}: {MISSING}"


def installed() -> bool:
    """Tell whether the cipher's package is there."""
    return find_spec("cryptography") is not None
