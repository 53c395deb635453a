"""Words in a config: sets of them, secrets, and addresses on the web."""

import re
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import PlainSerializer, PlainValidator

from forecourt.policies.wording import refused, said

_WORD = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
"""A scope token of RFC 6749 §3.3: visible ASCII without `"` and `\\`."""


def _listed(value: object) -> list[str]:
    if isinstance(value, str):
        raise refused(value, f'must be a list of words, as in ["{value}"]')
    if not isinstance(value, Collection):
        raise refused(value, "must be a list of words")
    return [_word(each) for each in value]


def _word(value: object) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise refused(value, 'must be words of visible ASCII without spaces, " and \\')
    return str(value)


def _paths(value: object) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not found or not all(isinstance(each, str) and each for each in found):
        raise refused(value, "must be the name of a claim, or a list of names of which the first that is there counts")
    return tuple(str(each) for each in found)


def _one_or_more(value: object) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, list | tuple | set | frozenset) or not found:
        raise refused(value, "must be text, or a list of texts")
    if not all(isinstance(each, str) and each for each in found):
        raise refused(value, "must be text, or a list of texts")
    return tuple(str(each) for each in found)


def _secret(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise said("must be text, such as env:NAME or file:path; what was given is not shown")
    return value


def loopback(host: str) -> bool:
    """Whether a host's name or address never leaves this machine."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def web_address(value: object) -> str:
    """Return an address that is fit to be asked: https, or http on this machine; the error is a validator's."""
    if not isinstance(value, str):
        raise refused(value, "must be an address such as https://issuer.example/keys")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise said("is not an address such as https://issuer.example/keys") from None
    if parts.scheme not in ("https", "http") or not host:
        raise said("is not an address such as https://issuer.example/keys")
    if parts.username is not None or parts.password is not None:
        raise said("must not carry a user or a password")
    if parts.scheme == "http" and not loopback(host):
        raise refused(f"http://{host}", "must begin with https://; plain http is for this machine only")
    return str(value)


def listed(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return what a field of one text or several holds."""
    return (value,) if isinstance(value, str) else tuple(value)


Texts = Annotated[
    AbstractSet[str],
    PlainValidator(lambda value: frozenset(_listed(value)), json_schema_input_type=list[str]),
    PlainSerializer(sorted),
]
"""A set of words such as scopes and roles."""

Paths = Annotated[str | Sequence[str], PlainValidator(_paths, json_schema_input_type=str | list[str])]
"""Where in a token a claim stands: names or dotted paths; the first that is there counts."""

OneOrMore = Annotated[str | Sequence[str], PlainValidator(_one_or_more, json_schema_input_type=str | list[str])]
"""One text, or several."""

SecretText = Annotated[str, PlainValidator(_secret, json_schema_input_type=str)]
"""Text that no message shows."""

WebAddress = Annotated[str, PlainValidator(web_address, json_schema_input_type=str)]
"""An https address; plain http is for this machine only."""
