"""What a store's URL means: which servers, by which transport, with which settings of a connection.

    redis://[[user]:password@]host[:port][/db][?option=value&…]     one primary
    rediss://…                                                      the same over TLS
    unix://[[user]:password@]/path/to/socket[?db=0]                 one primary on this machine
    redis+cluster://host[:port],host[:port]                         a cluster, by any of its nodes
    redis+sentinel://host[:port],host[:port]/service[/db]           the primary that sentinels name

`valkey` and `valkeys` mean `redis` and `rediss` everywhere. User name, password, host and path are percent-encoded,
as redis-py reads them. Nothing here is ever printed with a password in it, nor with what may be the tail of one that
was not encoded: a port, a path or an option that nobody knows is not repeated.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from forecourt.errors import ConfigError

Form = Literal["single", "cluster", "sentinel"]
Transport = Literal["tcp", "tls", "unix"]
Setting = str | int | float | bool

_TRANSPORTS: dict[str, Transport] = {
    "redis": "tcp",
    "valkey": "tcp",
    "rediss": "tls",
    "valkeys": "tls",
    "unix": "unix",
}
_FORMS: dict[str, Form] = {"": "single", "cluster": "cluster", "sentinel": "sentinel"}
_SCHEMES = (
    *_TRANSPORTS,
    *(f"{name}+{form}" for name in _TRANSPORTS if name != "unix" for form in ("cluster", "sentinel")),
)
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_MEANINGLESS = {
    "socket_timeout": "every question has the deadline of the store",
    "timeout": "every question has the deadline of the store",
    "max_connections": "questions share one connection per lane",
    "health_check_interval": "deadlines watch the connection",
    "retry_on_timeout": "a question whose fate is unknown is not asked again",
    "decode_responses": "answers stay bytes",
}


class Place(NamedTuple):
    """Where a server listens: a host and its TCP port, or the path of a socket with port 0."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Location:
    """A store's URL, taken apart.

    `settings` are keyword arguments of a redis-py connection besides its address; `sentinel_settings` are those for
    connections to the sentinels. `service` is what the sentinels call the primary, else empty.
    """

    form: Form
    transport: Transport
    places: tuple[Place, ...]
    service: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict, repr=False)
    sentinel_settings: Mapping[str, Setting] = field(default_factory=dict, repr=False)


def parse(url: str) -> Location:
    """Take a store's URL apart; ConfigError says what is wrong and what would be right, never a password."""
    scheme, marked, _ = url.partition("://")
    if not marked or not re.fullmatch(r"[A-Za-z0-9+]+", scheme):
        raise ConfigError("store: a URL is needed, such as redis://host:6379")
    if scheme.lower() not in _SCHEMES:
        raise ConfigError(f"store: unknown scheme {scheme!r}{_nearest(scheme.lower(), _SCHEMES)}")
    name, _, form_name = scheme.lower().partition("+")
    form, transport = _FORMS[form_name], _TRANSPORTS[name]
    split = _split(url)
    settings = _options(split, transport)
    sentinel_settings = _sentinel_options(form, settings)
    settings |= _credentials(split)
    if transport == "unix":
        return Location(form, transport, (_socket(split),), settings=settings)
    service, database = _path(form, split.path)
    if database:
        settings.setdefault("db", _database(database))
    if form == "cluster" and settings.get("db"):
        raise ConfigError("store: a cluster has database 0 only; take the number out of the URL")
    places = _places(split, 26379 if form == "sentinel" else 6379)
    if form == "single" and len(places) > 1:
        raise ConfigError(f"store: several hosts need {name}+cluster:// or {name}+sentinel://")
    return Location(form, transport, places, service, settings, sentinel_settings)


def _split(url: str) -> SplitResult:
    try:
        split = urlsplit(url)
    except ValueError:
        raise ConfigError("store: malformed host; IPv6 is written [::1]") from None
    # Whatever stands there is the tail of a password: it must not be taken for a port, a path or an option.
    if any("@" in part for part in (split.path, split.query, split.fragment)):
        raise ConfigError("store: an '@' after the host; in a password, '/' is written %2F, '?' %3F and '#' %23")
    return split


def _nearest(word: str, words: tuple[str, ...]) -> str:
    found = difflib.get_close_matches(word, words, 1, 0.5)
    return f" (did you mean {found[0]!r}?)" if found else f" (known: {', '.join(words)})"


def _option(name: str, names: tuple[str, ...]) -> str:
    """Spell an unknown option where it is plainly a misspelt one; anything else may be the tail of a secret."""
    found = difflib.get_close_matches(name, names, 1, 0.7) if re.fullmatch(r"[a-z_]{3,}", name) else []
    return (
        f" {name!r} (did you mean {found[0]!r}?)" if found else f"; in a value, '&' is %26 (known: {', '.join(names)})"
    )


def _options(split: SplitResult, transport: Transport) -> dict[str, Setting]:
    readers = _READERS | _MORE_READERS[transport]
    settings: dict[str, Setting] = {}
    for name, text in parse_qsl(split.query, keep_blank_values=True):
        if name in _MEANINGLESS:
            raise ConfigError(f"store: option {name!r} means nothing here: {_MEANINGLESS[name]}")
        if name not in readers:
            raise ConfigError(f"store: unknown option{_option(name, tuple(readers))}")
        try:
            settings[name] = readers[name](text)
        except ValueError as wrong:
            raise ConfigError(f"store: option {name!r}: {wrong}") from None
    return settings


def _sentinel_options(form: Form, settings: dict[str, Setting]) -> dict[str, Setting]:
    """Return the settings for sentinels; takes those that are theirs alone out of `settings`."""
    given = [name for name in _SENTINEL_OPTIONS if name in settings]
    own = {name.removeprefix("sentinel_"): settings.pop(name) for name in given}
    if form != "sentinel":
        if own:
            raise ConfigError(f"store: sentinel_{next(iter(own))} needs a +sentinel URL")
        return {}
    return {name: value for name, value in settings.items() if name != "db"} | own


def _credentials(split: SplitResult) -> dict[str, Setting]:
    user, password = split.username, split.password
    given = {"username": user, "password": password}
    return {name: unquote(text) for name, text in given.items() if text}


def _socket(split: SplitResult) -> Place:
    # unix://name means a path beside the working directory to nobody; redis-py reads the path alone.
    if not split.path or split.hostname:
        raise ConfigError("store: unix:// needs the absolute path of a socket: unix:///run/valkey.sock")
    return Place(unquote(split.path), 0)


def _path(form: Form, path: str) -> tuple[str, str]:
    """(service, database) that a path names."""
    parts = [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
    service = ""
    if form == "sentinel":
        if not parts:
            raise ConfigError("store: +sentinel needs the service's name: redis+sentinel://host:26379/mymaster")
        service = parts.pop(0)
    if len(parts) > 1:
        raise ConfigError("store: the path has too many parts")
    return service, parts[0] if parts else ""


def _database(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError("store: the path must be a database number")
    return int(text)


def _places(split: SplitResult, port: int) -> tuple[Place, ...]:
    hosts = split.netloc.rpartition("@")[2]
    places = tuple(_place(text, port) for text in hosts.split(",") if text)
    if not places:
        return (Place("localhost", port),)
    return places


def _place(text: str, port: int) -> Place:
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, number = text, str(port)
    if not (number.isdecimal() and 0 < int(number) < 65536):
        raise ConfigError("store: a port must be a number from 1 to 65535")
    return Place(unquote(host).strip("[]") or "localhost", int(number))


def _flag(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be true or false")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise ValueError("must be seconds, above 0 and below 3600")
    return seconds


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return read


_READERS: dict[str, Callable[[str], Setting]] = {
    "db": _whole(0, 65535),
    "protocol": _whole(2, 3),
    "client_name": str,
    "username": str,
    "password": str,
    "socket_connect_timeout": _seconds,
    "socket_read_size": _whole(1024, 2**24),
    "sentinel_username": str,
    "sentinel_password": str,
}
_TCP_READERS: dict[str, Callable[[str], Setting]] = {"socket_keepalive": _flag}
_TLS_READERS: dict[str, Callable[[str], Setting]] = _TCP_READERS | {
    "ssl_keyfile": str,
    "ssl_certfile": str,
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_ca_data": str,
    "ssl_ciphers": str,
    "ssl_password": str,
    "ssl_check_hostname": _flag,
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
}
_MORE_READERS: dict[Transport, dict[str, Callable[[str], Setting]]] = {
    "tcp": _TCP_READERS,
    "tls": _TLS_READERS,
    "unix": {},
}
