"""What a config must have so that records and contents can be sealed: keys, and the extra that brings the ciphers."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from forecourt.config_policies import ResolvedPolicy
from forecourt.errors import ConfigError
from forecourt.payload.keys import Keyring
from forecourt.policies.encryption import Encryption, Format
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.keys import KeyRing
from forecourt.policies.payload_keys import PayloadKeys
from forecourt.policies.wording import Place, spelt

MISSING = "needs cryptography: pip install 'forecourt[encryption]'"


def unsealable(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None, keys: KeyRing | None
) -> Iterator[str]:
    """Tell of each `at_rest` that has no key to seal by, or nothing to seal with."""
    for place, encryption in _said(endpoints, default):
        if not encryption.at_rest:
            continue
        at = spelt((*place, "encryption", "at_rest"))
        if keys is None:
            yield f'{at}: records are sealed by keys: say keys=["env:NAME"], 32 bytes or more'
        if not installed():
            yield f"{at}: {MISSING}"


def keyring_of(policy: PayloadKeys | None) -> Keyring | None:
    """Return the keys for contents that are sealed from end to end; None where the config has none."""
    return None if policy is None else Keyring(policy)


def keyless(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None, keys: Keyring | None, *, api_keys: bool
) -> Iterator[str]:
    """Tell of what is to be opened or sealed from end to end, and no key is there that could."""
    formats: list[Format] = []
    for place, encryption in _said(endpoints, default):
        if encryption.end_to_end and encryption.format not in formats:
            formats.append(encryption.format)
        if encryption.request != "off":
            yield from _unopenable(spelt((*place, "encryption", "request")), encryption.format, keys)
        if encryption.response != "off" and not (keys and keys.has_callers) and not api_keys:
            at = spelt((*place, "encryption", "response"))
            yield f"{at}: answers are sealed to callers' keys: say payload_keys = {{callers = {{…}}}}, or give api_keys"
    if keys is not None and formats:
        yield from keys.faults(formats)


def _unopenable(at: str, form: Format, keys: Keyring | None) -> Iterator[str]:
    if keys is None:
        yield f'{at}: contents are sealed to the service\'s own keys: say payload_keys = {{own = ["file:path"]}}'
        return
    try:
        keys.opener(form)
    except ConfigError as error:
        yield from (f"{at}: {problem}" for problem in error.problems)


def sealed_for_nobody(policy: ResolvedPolicy, protocol: str) -> Iterator[str]:
    """Tell of answers that are to be sealed where nobody is known to be calling; of WebSockets, that nothing is."""
    encryption = policy.encryption
    if encryption is None or not encryption.end_to_end:
        return
    source = policy.fields["encryption"].source
    if protocol == "websocket":
        if source.startswith("endpoint"):
            yield f"encryption of {source}: {policy.endpoint} is a WebSocket; its messages are not sealed"
    elif encryption.response != "off" and (policy.security is None or policy.security.public):
        yield (
            f'encryption.response of {source}: endpoint "{policy.endpoint}" knows no caller to seal for;'
            " give it security, or say encryption off"
        )


def _said(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None
) -> Iterator[tuple[Place, Encryption]]:
    policies: list[tuple[Place, EndpointPolicy]] = [(("default",), default)] if default else []
    policies += [(("endpoints", name), policy) for name, policy in endpoints.items()]
    for place, policy in policies:
        if isinstance(policy.encryption, Encryption):
            yield place, policy.encryption


def installed() -> bool:
    """Tell whether the cipher's package is there."""
    return find_spec("cryptography") is not None
