"""Who opens and who seals: the service by its own keys, for each caller to the key that is registered for them.

An answer is never sealed to a key that came with the request. The packages are imported only for the format that a
policy asks for: `jwe` takes joserfc, `hpke` takes cryptography from 48 on.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from forecourt.core.payload import Opened, UnfitKey
from forecourt.errors import ConfigError
from forecourt.policies.encryption import Format
from forecourt.policies.payload_keys import Jwk, PayloadKeys
from forecourt.principals import Principal

logger = logging.getLogger("forecourt")

NEEDS: Mapping[Format, str] = {
    "jwe": "format jwe needs joserfc: pip install 'forecourt[encryption]'",
    "hpke": "format hpke needs cryptography 48 or later: pip install -U 'forecourt[encryption]'",
}
_MOST_KNOWN = 10_000
_NOT_UNDERSTOOD = "it is not a key that is understood"


class Opens(Protocol):
    """Opens what was sealed to the service."""

    def open(self, message: bytes) -> Opened:
        """Return header and content; `core.sealed.Unopened`, whatever is wrong."""
        ...


class Seals(Protocol):
    """Seals to one key."""

    def seal(self, header: Mapping[str, object], content: bytes) -> bytes:
        """Return a message whose header says this, and how it was sealed."""
        ...


KINDS = ("x25519", "p256", "rsa", "hpke", "hybrid")
"""Keys that can be made: the first three for `jwe`, x25519 for `hpke` as well, the last two for `hpke` alone."""


def generated(kind: str, kid: str) -> dict[str, object]:
    """Return a new private JWK of one of `KINDS`; ConfigError without the package."""
    form: Format = "hpke" if kind in ("hpke", "hybrid") else "jwe"
    try:
        if form == "jwe":
            from forecourt.payload import jwe  # noqa: PLC0415  # joserfc is optional

            return jwe.generated(kind, kid)
        from forecourt.payload import hpke  # noqa: PLC0415  # cryptography is optional

        return hpke.generated(kind, kid)
    except ImportError as error:
        raise ConfigError(f"encryption: {NEEDS[form]}") from error
    except UnfitKey as error:
        raise ConfigError(f"encryption: {error}") from error


class Keyring:
    """The keys of one config, ready for use; its openers and sealers are made when they are first asked for."""

    def __init__(self, policy: PayloadKeys) -> None:
        self._policy = policy
        self._table = policy.table()
        self._openers: dict[Format, Opens] = {}
        self._sealers: OrderedDict[tuple[Format, str], Seals | None] = OrderedDict()

    def opener(self, form: Format) -> Opens:
        """Return what opens by the service's own keys; ConfigError where none is fit for this format."""
        if form not in self._openers:
            self._openers[form] = opener(form, self._policy.owned())
        return self._openers[form]

    def sealer(self, form: Format, principal: Principal | None) -> Seals | None:
        """Return what seals for a caller; None where no key of theirs is registered that is fit for this format."""
        jwk = self._registered(principal)
        if jwk is None:
            return None
        known = (form, json.dumps(dict(jwk), sort_keys=True))
        if known not in self._sealers:
            self._sealers[known] = _made(form, jwk)
            if len(self._sealers) > _MOST_KNOWN:
                self._sealers.popitem(last=False)
        return self._sealers[known]

    @property
    def has_callers(self) -> bool:
        """Whether the config says callers' keys, or who is asked for them."""
        return bool(self._policy.callers)

    def faults(self, formats: Sequence[Format]) -> Sequence[str]:
        """Return a line for each key in the table of callers that is fit for none of these formats."""
        wrong = []
        for (issuer, subject), jwk in self._table.items():
            reasons = [reason for form in formats if (reason := _unfit(form, jwk))]
            if len(reasons) == len(formats):
                why = "; ".join(dict.fromkeys(reasons))
                wrong.append(f'payload_keys.callers."{issuer}"."{subject}": of no use: {why}')
        return wrong

    def _registered(self, principal: Principal | None) -> Jwk | None:
        if principal is None:
            return None
        if principal.encryption_key is not None:
            own: Jwk = json.loads(principal.encryption_key)
            return own
        if self._policy.function is not None:
            return self._policy.function(principal)
        return self._table.get((principal.issuer, principal.subject))


def opener(form: Format, jwks: Sequence[Jwk]) -> Opens:
    """Return what opens by those of these private keys that are fit for it; ConfigError where none is."""
    found: list[Jwk] = []
    alone: Opens | None = None
    reasons: list[str] = []
    for jwk in jwks:
        try:
            alone = _opener(form, [jwk])
            found.append(jwk)
        except UnfitKey as error:
            reasons.append(str(error))
    kids = [jwk["kid"] for jwk in found if "kid" in jwk]
    if twice := [kid for place, kid in enumerate(kids) if kid in kids[:place]]:
        raise ConfigError(f'payload_keys.own: two keys have the id "{twice[0]}"')
    if not found:
        why = "; ".join(dict.fromkeys(reasons)) or "there are none"
        raise ConfigError(f"payload_keys.own: no key that opens messages of format {form}: {why}")
    return alone if alone is not None and len(found) == 1 else _opener(form, found)


def sealer(form: Format, jwk: Jwk) -> Seals:
    """Return what seals to this key; ConfigError without the package, UnfitKey for a key that is of no use."""
    made: Callable[[Jwk], Seals]
    try:
        if form == "jwe":
            from forecourt.payload import jwe  # noqa: PLC0415  # joserfc is optional

            made = jwe.JweSealer
        else:
            from forecourt.payload import hpke  # noqa: PLC0415  # cryptography is optional

            made = hpke.HpkeSealer
    except ImportError as error:
        raise ConfigError(f"encryption: {NEEDS[form]}") from error
    try:
        return made(jwk)
    except UnfitKey:
        raise
    except Exception:  # noqa: BLE001  # libraries raise what they like, and may show what they were given
        raise UnfitKey(_NOT_UNDERSTOOD) from None


def _opener(form: Format, jwks: Sequence[Jwk]) -> Opens:
    made: Callable[[Sequence[Jwk]], Opens]
    try:
        if form == "jwe":
            from forecourt.payload import jwe  # noqa: PLC0415  # joserfc is optional

            made = jwe.JweOpener
        else:
            from forecourt.payload import hpke  # noqa: PLC0415  # cryptography is optional

            made = hpke.HpkeOpener
    except ImportError as error:
        raise ConfigError(f"encryption: {NEEDS[form]}") from error
    try:
        return made(jwks)
    except UnfitKey:
        raise
    except Exception:  # noqa: BLE001  # as above
        raise UnfitKey(_NOT_UNDERSTOOD) from None


def _unfit(form: Format, jwk: Jwk) -> str | None:
    try:
        sealer(form, jwk)
    except UnfitKey as error:
        return str(error)
    return None


def _made(form: Format, jwk: Jwk) -> Seals | None:
    try:
        return sealer(form, jwk)
    except UnfitKey as error:
        logger.warning("a caller's registered key is of no use with format %s: %s", form, error)
        return None
