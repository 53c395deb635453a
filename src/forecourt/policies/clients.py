"""From which networks an endpoint may be called."""

import re
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import PlainSerializer, PlainValidator, model_validator

from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, fault, refusal, refused

Network = IPv4Network | IPv6Network

NO_ADDRESS = "unix"
"""The word for peers without an address, as servers on a Unix socket have."""

_GROUP = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def network(text: str) -> Network | None:
    """Return the network or single address that this text spells; None where it spells none."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def is_group(text: str) -> bool:
    """Return whether this text is the name of a group of networks."""
    return text != NO_ADDRESS and network(text) is None


def _texts(value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Collection):
        raise refused(value, 'must be a list of networks, as in ["192.0.2.0/24"]')
    for each in value:
        if not isinstance(each, str):
            raise refused(each, "must be a network such as 192.0.2.0/24, an address, a group's name or unix")
    return [str(each) for each in value]


def _named(value: object) -> frozenset[str]:
    found = _texts(value)
    for each in found:
        if is_group(each) and not _GROUP.fullmatch(each):
            raise refused(each, "must be a network such as 192.0.2.0/24, an address, a group's name or unix")
    return frozenset(found)


def _members(value: object) -> frozenset[str]:
    found = _texts(value)
    for each in found:
        if is_group(each):
            raise refused(each, "must be a network such as 192.0.2.0/24, an address or unix")
    return frozenset(found)


def _groups(value: object) -> Mapping[str, AbstractSet[str]]:
    if not isinstance(value, Mapping):
        raise refused(value, 'must be a table of lists, as in {office = ["192.0.2.0/24"]}')
    for name in value:
        if not isinstance(name, str) or not is_group(name) or not _GROUP.fullmatch(name):
            raise refused(name, "must be a name of letters, digits, _ or -, which begins with a letter")
    return MappingProxyType({name: _members(value[name]) for name in value})


Networks = Annotated[
    AbstractSet[str], PlainValidator(_named, json_schema_input_type=list[str]), PlainSerializer(sorted)
]
"""Networks, addresses, names of groups, or `unix`."""

NetworkGroups = Annotated[
    Mapping[str, AbstractSet[str]], PlainValidator(_groups, json_schema_input_type=dict[str, list[str]])
]
"""Networks and addresses under the names that `ClientNetworks` may use."""


class ClientNetworks(Words):
    """Only clients of `allow` may call, where it is given, and none of `deny`.

    Each is a set of networks (`192.0.2.0/24`, `2001:db8::/32`), single addresses, names of the config's `networks`,
    and `unix` for peers without an address. What both name is denied.
    """

    allow: Networks | None = None
    deny: Networks = frozenset()

    @property
    def groups(self) -> AbstractSet[str]:
        """The names of groups that this policy uses."""
        return frozenset(filter(is_group, (self.allow or frozenset()) | self.deny))

    @model_validator(mode="after")
    def _possible(self) -> "ClientNetworks":
        if self.allow is None and not self.deny:
            raise refusal(type(self).__name__, [fault("allow", None, "give networks to allow, or to deny")])
        if self.allow is not None and not self.allow:
            raise refusal(type(self).__name__, [fault("allow", [], "nobody could call; leave it out to allow all")])
        return self


ClientsField = Annotated[
    ClientNetworks | Literal["off"] | None,
    PlainValidator(switched(ClientNetworks), json_schema_input_type=ClientNetworks | Literal["off"] | None),
]
"""What the field `clients` takes."""
