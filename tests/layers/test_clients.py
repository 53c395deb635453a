"""Networks that may call, and those that may not."""

import pytest

from forecourt import ClientNetworks, ClientsMiddleware, ConfigError, EndpointPolicy, JobConfig
from forecourt.layers import clients
from tests.layers.guarded import Guarded


def guarded(allow: set[str] | None = None, deny: set[str] | None = None, **config: object) -> Guarded:
    """Build a service for clients of these networks."""
    networks = ClientNetworks(allow=allow, deny=deny or frozenset())
    return Guarded(EndpointPolicy(clients=networks), **config)  # type: ignore[arg-type]  # the tests' own words


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("192.0.2.1", 200),
        ("192.0.2.66", 403),
        ("198.51.100.1", 403),
        ("2001:db8::1", 200),
        ("2001:db9::1", 403),
        ("::ffff:192.0.2.1", 200),
        ("::ffff:192.0.2.66", 403),
        ("testclient", 403),
        ("unix", 403),
    ],
)
async def test_only_allowed_networks_call_and_no_denied_ones(address: str, status: int) -> None:
    """Denied wins; IPv4 mapped into IPv6 is IPv4; what is no address is nobody's. Twice alike, as it is remembered."""
    service = guarded({"192.0.2.0/24", "2001:db8::/32"}, {"192.0.2.66"})
    answers = [await service.call(client=address) for _ in range(2)]
    assert [answer.status for answer in answers] == [status] * 2
    assert (b"may not do this" in answers[0].body) == (status == 403)


async def test_deny_alone_lets_all_others_in_but_nobody_without_an_address_that_can_be_read() -> None:
    """An address that cannot be read may be a denied one; a peer on a Unix socket is not."""
    service = guarded(deny={"192.0.2.0/24"})
    statuses = [(await service.call(client=each)).status for each in ("198.51.100.1", "192.0.2.9", "strange", "unix")]
    assert statuses == [200, 403, 403, 200]
    assert service.decisions.count(("clients", "refused")) == 2


async def test_peers_without_an_address_are_named_by_a_word() -> None:
    """`unix` in a list means the peers of a server on a Unix socket."""
    assert (await guarded({"unix"}).call(client="unix")).status == 200
    assert (await guarded(deny={"unix"}).call(client="unix")).status == 403
    assert (await guarded({"unix"}).call()).status == 403


async def test_groups_stand_for_their_networks() -> None:
    """A name means what `networks` has under it."""
    service = guarded({"office", "203.0.113.5"}, networks={"office": ["192.0.2.0/24", "unix"]})
    statuses = [(await service.call(client=each)).status for each in ("192.0.2.1", "203.0.113.5", "203.0.113.6")]
    assert statuses == [200, 200, 403]


async def test_trusted_proxies_say_who_calls() -> None:
    """The address is the client's, not its proxy's; others' word counts for nothing."""
    service = guarded({"192.0.2.0/24"}, trusted_proxies=["10.0.0.1"])
    forwarded = (b"x-forwarded-for", b"192.0.2.7")
    assert (await service.call("GET", forwarded, client="10.0.0.1")).status == 200
    assert (await service.call("GET", forwarded, client="198.51.100.1")).status == 403


async def test_websockets_are_refused_before_they_are_accepted() -> None:
    """With the same status, where the server can."""
    assert (await guarded(deny={"192.0.2.0/24"}).connect()).status == 403


async def test_what_is_remembered_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many addresses are decided alike, and few kept."""
    monkeypatch.setattr(clients, "_MOST_KNOWN", 2)
    service = guarded({"192.0.2.0/24"})
    statuses = {(await service.call(client=f"192.0.2.{number}")).status for number in range(6)}
    assert statuses == {200}


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({}, "give networks to allow, or to deny"),
        ({"allow": []}, "nobody could call; leave it out to allow all"),
        ({"allow": "192.0.2.0/24"}, 'must be a list of networks, as in ["192.0.2.0/24"]'),
        ({"allow": [4]}, "must be a network such as 192.0.2.0/24, an address, a group's name or unix"),
        ({"deny": ["192.0.2.0/33"]}, "must be a network such as 192.0.2.0/24, an address, a group's name or unix"),
        ({"deny": ["ofice"]}, 'networks has no such group; did you mean "office"?'),
        ({"deny": ["zoo"]}, "networks has no such group; add it, or write a network such as 192.0.2.0/24"),
    ],
)
def test_wrong_networks_stop_the_start(field: dict[str, object], message: str) -> None:
    """Each mistake is told in a line with its place and its fix."""
    with pytest.raises(ConfigError, match="clients") as caught:
        JobConfig(endpoints={"read": {"clients": field}}, networks={"office": ["192.0.2.0/24"]})  # type: ignore[dict-item]  # as in a file
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([], "must be a table of lists"),
        ({"192.0.2.1": []}, "must be a name of letters, digits, _ or -, which begins with a letter"),
        ({"office": ["home"]}, "must be a network such as 192.0.2.0/24, an address or unix"),
    ],
)
def test_wrong_groups_stop_the_start(networks: object, message: str) -> None:
    """Groups have names that are no networks, and hold networks alone."""
    with pytest.raises(ConfigError, match="networks") as caught:
        JobConfig(default=EndpointPolicy(), networks=networks)  # type: ignore[arg-type]  # as in a file
    assert message in str(caught.value)


def test_it_is_a_middleware_of_its_own() -> None:
    """The stack with that one layer."""
    assert ClientsMiddleware.installs == ("clients",)
