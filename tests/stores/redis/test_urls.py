"""What a store's URL means, and what is said of one that means nothing."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from forecourt.errors import ConfigError
from forecourt.stores.redis.urls import Place, parse


@pytest.mark.parametrize(
    ("url", "form", "transport", "places"),
    [
        ("redis://", "single", "tcp", [("localhost", 6379)]),
        ("REDIS://Host", "single", "tcp", [("Host", 6379)]),
        ("redis://:7000", "single", "tcp", [("localhost", 7000)]),
        ("valkey://host:7000", "single", "tcp", [("host", 7000)]),
        ("rediss://host", "single", "tls", [("host", 6379)]),
        ("valkeys://host/2", "single", "tls", [("host", 6379)]),
        ("redis://[::1]:7000", "single", "tcp", [("::1", 7000)]),
        ("redis://[::1]", "single", "tcp", [("::1", 6379)]),
        ("redis://user:p%40ss@host", "single", "tcp", [("host", 6379)]),
        ("unix:///run/a%20b.sock", "unix", "unix", [("/run/a b.sock", 0)]),
        ("redis+cluster://a,b:7001,[::1]:7002", "cluster", "tcp", [("a", 6379), ("b", 7001), ("::1", 7002)]),
        ("valkeys+cluster://a", "cluster", "tls", [("a", 6379)]),
        ("redis+sentinel://a,b:1/service", "sentinel", "tcp", [("a", 26379), ("b", 1)]),
        ("rediss+sentinel://a/service/3", "sentinel", "tls", [("a", 26379)]),
    ],
)
def test_every_form_names_its_servers(url: str, form: str, transport: str, places: list[tuple[str, int]]) -> None:
    """Scheme, transport and places are as the module's table says."""
    location = parse(url)
    assert (location.form, location.transport) == ("single" if form == "unix" else form, transport)
    assert list(location.places) == places


@pytest.mark.parametrize(
    "url",
    [
        "redis://us%3Aer:p%40s%2Fs@host:1/2",
        "redis://:only@host",
        "redis://host?db=3&client_name=shop",
        "redis://host/1?db=3",
        "rediss://host?ssl_cert_reqs=none&ssl_check_hostname=false&protocol=3",
        "redis://host?socket_connect_timeout=0.5&socket_keepalive=no&socket_read_size=4096",
        "unix://:secret@/run/valkey.sock?db=1",
        "redis://host?username=a&password=b+c&socket_keepalive=yes",
    ],
)
def test_settings_are_read_as_redis_py_reads_them(url: str) -> None:
    """Credentials, database and options of a single server mean what they mean to redis-py."""
    theirs = dict(parse_url(url))
    for name in ("connection_class", "host", "port", "path"):
        theirs.pop(name, None)
    # By their text: what redis-py makes a number of differs between its versions.
    assert _texts(parse(url).settings) == _texts(theirs)


def _texts(settings: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in settings.items()}


def test_a_sentinel_url_names_service_and_database() -> None:
    """The path is the service, then the database; the database is the primary's alone."""
    location = parse("redis+sentinel://user:a@h/my%20service/3?protocol=3")
    assert location.service == "my service"
    assert location.settings == {"username": "user", "password": "a", "db": 3, "protocol": 3}
    assert location.sentinel_settings == {"protocol": 3}


def test_sentinels_have_credentials_of_their_own() -> None:
    """Options say how to log in to the sentinels, and the primary never sees them."""
    location = parse("redis+sentinel://:a@h/service?sentinel_username=u&sentinel_password=b")
    assert location.settings == {"password": "a"}
    assert location.sentinel_settings == {"username": "u", "password": "b"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("reddis://host", "unknown scheme 'reddis' (did you mean 'redis'?)"),
        ("postgresql://host", "unknown scheme 'postgresql' (known: redis, valkey,"),
        ("host:6379", "a URL is needed, such as redis://host:6379"),
        (":secret@host://", "a URL is needed, such as redis://host:6379"),
        ("redis+unix:///run/s", "unknown scheme 'redis+unix'"),
        ("redis://[::1", "malformed host; IPv6 is written [::1]"),
        ("redis://host?protocl=3", "unknown option 'protocl' (did you mean 'protocol'?)"),
        ("redis://host?zzz=3", "unknown option; in a value, '&' is %26 (known: db,"),
        ("redis://host?ssl_ca_certs=a", "unknown option; in a value"),
        ("redis://host?protocol=4", "option 'protocol': must be a whole number from 2 to 3"),
        ("redis://host?db=x", "option 'db': must be a whole number"),
        ("redis://host?socket_keepalive=maybe", "option 'socket_keepalive': must be true or false"),
        ("redis://host?socket_connect_timeout=soon", "option 'socket_connect_timeout': must be seconds"),
        ("redis://host?socket_connect_timeout=0", "option 'socket_connect_timeout': must be seconds"),
        ("rediss://host?ssl_cert_reqs=some", "option 'ssl_cert_reqs': must be one of none, optional, required"),
        (
            "redis://host?socket_timeout=1",
            "option 'socket_timeout' means nothing here: every question has the deadline",
        ),
        ("redis://host?max_connections=1", "option 'max_connections' means nothing here"),
        ("redis://host?sentinel_password=a", "sentinel_password needs a +sentinel URL"),
        ("redis://a,b", "several hosts need redis+cluster:// or redis+sentinel://"),
        ("redis://:a/b@host", "an '@' after the host; in a password, '/' is written %2F"),
        ("redis://:a?b@host", "an '@' after the host"),
        ("redis://:a#b@host", "an '@' after the host"),
        ("redis://host/zero", "the path must be a database number"),
        ("redis://host/0/1", "the path has too many parts"),
        ("redis://host:port", "a port must be a number from 1 to 65535"),
        ("redis://host:70000", "a port must be a number from 1 to 65535"),
        ("redis+cluster://host/1", "a cluster has database 0 only"),
        ("redis+sentinel://host", "+sentinel needs the service's name"),
        ("unix://", "unix:// needs the absolute path of a socket"),
        ("unix://run/valkey.sock", "unix:// needs the absolute path of a socket"),
    ],
)
def test_a_wrong_url_is_refused_in_words(url: str, said: str) -> None:
    """ConfigError names the field `store`, what is wrong, and the nearest right thing."""
    with pytest.raises(ConfigError) as raised:
        parse(url)
    assert str(raised.value).startswith("store: ")
    assert said in str(raised.value)


def test_a_cluster_may_name_database_zero() -> None:
    """Database 0 is the one a cluster has."""
    assert parse("redis+cluster://host/0").settings == {"db": 0}


@given(
    password=st.text("abcXYZ019:/?#[]@!$&'()*+,;=%", min_size=12, max_size=24).map(lambda text: f"q7q{text}q7q"),
    scheme=st.sampled_from(["redis", "rediss+cluster", "redis+sentinel", "unix", "redsi", "redis:", "re@dis"]),
    tail=st.sampled_from(["host:1", "host/3", "host/service/x", "/run/s", "host:x", "a,b/9/9", "host?zzz=1"]),
)
def test_a_password_is_never_printed(password: str, scheme: str, tail: str) -> None:
    """Neither a refusal nor a location shows any of it, however badly it was encoded."""
    try:
        shown = repr(parse(f"{scheme}://user:{password}@{tail}"))
    except ConfigError as error:
        shown = str(error)
    assert "q7q" not in shown


@given(
    secret=st.text("abcXYZ019:/?#[]!$&'()*+,;=%", max_size=16).map(lambda text: f"q7q{text}q7q"),
    url=st.sampled_from(
        [
            "redis://host?password={}",
            "redis+sentinel://host/main?sentinel_password={}",
            "rediss://host?ssl_password={}&protocol=9",
            "redis://:{}",
            "redis://user:{}",
        ]
    ),
)
def test_a_secret_in_the_wrong_place_is_never_printed(secret: str, url: str) -> None:
    """One in an option with its `&` unencoded, or where the `@host` was forgotten, is not repeated either."""
    try:
        shown = repr(parse(url.format(secret)))
    except ConfigError as error:
        shown = str(error)
    assert "q7q" not in shown


@pytest.mark.parametrize(
    ("place", "shown"), [(Place("h", 1), "h:1"), (Place("::1", 1), "[::1]:1"), (Place("/run/s", 0), "/run/s")]
)
def test_a_place_prints_as_an_address(place: Place, shown: str) -> None:
    """Operators read addresses in log lines."""
    assert str(place) == shown
