"""Addresses that an operator writes."""

import pytest

from forecourt.config import JobConfig
from forecourt.config_addresses import SCHEMES, redacted
from forecourt.errors import ConfigError


def refusals(**fields: object) -> list[str]:
    """Return what is wrong in a config of these fields."""
    with pytest.raises(ConfigError) as caught:
        JobConfig.model_validate(fields)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "address",
    [
        "memory://",
        "redis://localhost:6379/0",
        "REDISS://:secret@host",
        "valkey://host",
        "valkeys://host",
        "unix:///run/valkey.sock",
        "unix://:secret@/run/valkey.sock?db=1",
        "redis+cluster://a:1,b:2",
        "rediss+cluster://a",
        "valkey+cluster://a",
        "redis+sentinel://a,b/main/0",
        "valkey+sentinel://a/main",
    ],
)
def test_stores(address: str) -> None:
    """Every form of a store's address is kept as it is written."""
    assert JobConfig(store=address).store == address


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (5, "store: 5 is not allowed: must be an address such as redis://localhost:6379/0"),
        ("hunter2", "store: is not an address such as redis://localhost:6379/0"),
        ("localhost:hunter2", "store: is not an address such as redis://localhost:6379/0"),
        (":hunter2@host://x", "store: is not an address such as redis://localhost:6379/0"),
        ("redsi://:hunter2@h", 'store: "redsi://…" is not allowed: its scheme is unknown; did you mean "redis"?'),
        (
            "redis+clustr://:hunter2@h",
            'store: "redis+clustr://…" is not allowed: its scheme is unknown; did you mean "redis+cluster"?',
        ),
        ("zzz://x", f'store: "zzz://…" is not allowed: its scheme is unknown: {", ".join(SCHEMES)}'),
        (
            "memory://x",
            'store: "memory://…" is not allowed: it must be memory:// alone, as this process has one memory',
        ),
        (
            "unix://hunter2",
            'store: "unix://…" is not allowed: unix:// needs the absolute path of a socket: unix:///run/valkey.sock',
        ),
        ("redis://:hunter2@h:", 'store: "redis://…" is not allowed: a port must be a number from 1 to 65535'),
        ("redis://:hunter2@h/one", 'store: "redis://…" is not allowed: the path must be a database number'),
        (
            "redis+sentinel://:hunter2@h",
            (
                'store: "redis+sentinel://…" is not allowed: '
                "+sentinel needs the service's name: redis+sentinel://host:26379/mymaster"
            ),
        ),
    ],
)
def test_no_stores(address: object, problem: str) -> None:
    """What is no address is refused at startup, and nothing of it is shown but its scheme."""
    assert refusals(store=address) == [problem]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("memory://", "memory://"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:hunter2@host/0", "redis://***@host/0"),
        ("redis://:hunter2@with@host", "redis://***@host"),
        ("redis://hunter2@host?password=hunter2", "redis://***@host?…"),
        ("redis://host?password=hunter2@x", "redis://***"),
        ("redis://:hunter2?x@host", "redis://***"),
        ("unix://:hunter2@/run/valkey.sock", "unix://***@/run/valkey.sock"),
    ],
)
def test_addresses_for_people(address: str, shown: str) -> None:
    """User, password and options are left out, also where they were not escaped."""
    assert redacted(address) == shown


def test_proxies() -> None:
    """Addresses become networks of one; IPv4 written as IPv6 is IPv4; "unix" stays."""
    given = ["10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "::1", "::ffff:10.0.0.0/104", "::/0", "unix"]
    assert JobConfig(trusted_proxies=given).trusted_proxies == (
        "10.0.0.0/8",
        "10.1.2.3/32",
        "2001:db8::/32",
        "::1/128",
        "10.0.0.0/8",
        "::/0",
        "unix",
    )


def test_no_proxies() -> None:
    """Everything that is no network is told, with what was meant."""
    reason = 'must be an address, a network such as 10.0.0.0/8, or "unix"'
    given = ["*", "10.0.0.1/8", "unx", "proxy.example", 5]
    assert refusals(trusted_proxies=given) == [
        'trusted_proxies[0]: "*" is not allowed: to trust every peer say "0.0.0.0/0" and "::/0"',
        (
            'trusted_proxies[1]: "10.0.0.1/8" is not allowed: its address reaches beyond its prefix; '
            'did you mean "10.0.0.0/8"?'
        ),
        f'trusted_proxies[2]: "unx" is not allowed: {reason}; did you mean "unix"?',
        f'trusted_proxies[3]: "proxy.example" is not allowed: {reason}',
        f"trusted_proxies[4]: 5 is not allowed: {reason}",
    ]
    assert refusals(trusted_proxies="10.0.0.0/8") == [
        'trusted_proxies: "10.0.0.0/8" is not allowed: must be a list of addresses and networks'
    ]
