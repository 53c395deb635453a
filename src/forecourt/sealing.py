"""What an endpoint's layers seal their records with, where its policy says so; None where it does not.

The cipher is imported only when a policy asks for it.
"""

from typing import Protocol

from forecourt.config import JobConfig
from forecourt.config_encryption import MISSING
from forecourt.errors import ConfigError
from forecourt.policies.encryption import Encryption
from forecourt.policies.keys import KeyRing
from forecourt.principals import Principal


class Seal(Protocol):
    """Seals and opens the records of one layer and endpoint."""

    def seal(self, record: bytes, stored: str, tenant: str | None = None) -> bytes:
        """Return a record sealed for the place `stored` in a store, and this tenant."""
        ...

    def open(self, record: bytes, stored: str, tenant: str | None = None) -> bytes:
        """Return what was sealed for this place; `core.sealed.Unopened`, a ValueError, otherwise."""
        ...


def seal_of(config: JobConfig, layer: str, endpoint: str) -> Seal | None:
    """Return what seals this layer's records of an endpoint; None where its policy does not ask for it."""
    return _seal(config, layer, endpoint) if at_rest(config, endpoint) else None


def seal_of_default(config: JobConfig, layer: str) -> Seal | None:
    """Return what seals records that are of no endpoint; None where the `default` does not ask for it."""
    said = config.default.encryption if config.default else None
    return _seal(config, layer, "") if isinstance(said, Encryption) and said.at_rest else None


def at_rest(config: JobConfig, endpoint: str) -> bool:
    """Tell whether what is stored for this endpoint is to be sealed."""
    policy = config.policy_for(endpoint)
    return policy is not None and policy.encryption is not None and policy.encryption.at_rest


def _seal(config: JobConfig, layer: str, endpoint: str) -> Seal:
    assert config.key_ring is not None, "the config asks for keys"
    return seal_by(config.key_ring, layer, endpoint)


def tenant_of(principal: Principal | None) -> str | None:
    """Return the tenant that a caller's records are bound to."""
    return principal.tenant if principal else None


def seal_by(ring: KeyRing, layer: str, endpoint: str) -> Seal:
    """Return what seals by the keys of this ring; ConfigError when the extra is not installed."""
    try:
        from forecourt.ciphers import RingSeal  # noqa: PLC0415  # the extra `encryption` is optional
    except ImportError as error:
        raise ConfigError(f"encryption: {MISSING}") from error
    return RingSeal(ring, layer, endpoint)
