"""Posting to addresses that others named: only where they may lead, bounded in time and size."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from forecourt.core.webhooks import Rules
from forecourt.jobs.posting import MOST, Poster, Undelivered, resolved
from tests.jobs.receivers import Receiver

HERE = Rules((ip_network("127.0.0.0/8"),), plain_http=True)


def names(*addresses: str) -> "Names":
    """Return a resolver that gives these addresses."""
    return Names(addresses)


class Names:
    """A resolver that notes what it was asked."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of every name."""
        self.asked.append((host, port))
        return self._addresses


async def test_a_message_arrives_as_it_was_sent() -> None:
    """Path, query, fields and body; the status comes back, a redirect's like any other, and is not followed."""
    async with Receiver(200, 302) as receiver:
        post = Poster(HERE, 5)
        assert await post(receiver.url, {"webhook-id": "m"}, b"body") == 200
        assert await post(receiver.url, {}, b"") == 302
    assert receiver.lines == ["POST /hooks?a=b HTTP/1.1"] * 2
    assert (receiver.bodies[0], receiver.heads[0]["webhook-id"]) == (b"body", "m")
    assert receiver.heads[0]["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1%1", "::ffff:10.0.0.1"])
async def test_a_name_that_leads_inside_is_not_called(address: str) -> None:
    """What counts is where the name leads, even where another of its addresses is public; nobody is connected to."""
    async with Receiver() as receiver:
        post = Poster(Rules((), plain_http=True), 5, resolve=names("93.184.215.14", address))
        with pytest.raises(Undelivered, match="not public"):
            await post(f"http://receiver.example:{receiver.port}/", {}, b"")
    assert receiver.bodies == []


async def test_a_name_is_resolved_once() -> None:
    """The connection goes to the address that was judged: a name that changes leads nowhere else (DNS rebinding)."""
    asked = names("127.0.0.1")
    async with Receiver() as receiver:
        assert await Poster(HERE, 5, resolve=asked)(f"http://receiver.invalid:{receiver.port}/", {}, b"") == 204
        assert asked.asked == [("receiver.invalid", receiver.port)]
        assert receiver.heads[0]["host"] == f"receiver.invalid:{receiver.port}"


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    """Of several addresses the first that connects is used; where none does, or there is none, it is told."""
    async with Receiver() as receiver:
        post = Poster(HERE, 5, resolve=names("127.0.0.9", "127.0.0.1"))
        assert await post(f"http://receiver.example:{receiver.port}/", {}, b"") == 204
        for addresses, said in ((("127.0.0.9",), "Error"), ((), "no address")):
            with pytest.raises(Undelivered, match=said):
                await Poster(HERE, 5, resolve=names(*addresses))(f"http://r.example:{receiver.port}/", {}, b"")


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"nothing of HTTP\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 2 * MOST, "too long"),
        (b"HTTP/1.1 200 OK\r\n", "IncompleteReadError"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 6, "does not begin"),
    ],
)
async def test_an_answer_that_is_none_is_told(says: bytes, why: str) -> None:
    """Bounded in size; the text names neither the address nor what was answered."""
    async with Receiver(says=says) as receiver:
        with pytest.raises(Undelivered, match=why) as caught:
            await Poster(HERE, 5)(receiver.url, {}, b"")
    assert str(receiver.port) not in str(caught.value)


async def test_an_interim_answer_is_not_the_answer() -> None:
    """103 comes before the status that counts."""
    async with Receiver(says=b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 410 Gone\r\n\r\n") as receiver:
        assert await Poster(HERE, 5)(receiver.url, {}, b"") == 410


async def test_an_answer_is_waited_for_so_long() -> None:
    """A receiver that holds the connection costs the timeout, no more."""
    async with Receiver() as receiver:
        receiver.hold.clear()
        with pytest.raises(Undelivered, match="in time"):
            await Poster(HERE, 0.05)(receiver.url, {}, b"")
        receiver.hold.set()


async def test_without_leave_there_is_no_call_without_tls() -> None:
    """An address that is refused by its form is told so."""
    with pytest.raises(Undelivered, match="https"):
        await Poster(Rules(), 5)("http://receiver.example/", {}, b"")


async def test_the_system_is_asked_for_names() -> None:
    """`localhost` has the addresses of this machine."""
    assert set(await resolved("localhost", 80)) <= {"127.0.0.1", "::1"}


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate for a name; return what a server and a client need."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


async def test_the_certificate_is_that_of_the_name(tmp_path: Path) -> None:
    """The connection goes to the judged address, the name is checked; another name's certificate is refused."""
    server, client = certified(tmp_path, "receiver.example")
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with Receiver(tls=server) as receiver:
        post = Poster(HERE, 5, context=client, resolve=names("127.0.0.1"))
        assert await post(f"https://receiver.example:{receiver.port}/", {}, b"") == 204
        with pytest.raises(Undelivered, match="SSL"):
            await post(f"https://other.example:{receiver.port}/", {}, b"")
        with pytest.raises(Undelivered, match="SSL"):
            await Poster(HERE, 5, resolve=names("127.0.0.1"))(f"https://receiver.example:{receiver.port}/", {}, b"")
    assert asked == ["receiver.example", "other.example", "receiver.example"]
    await asyncio.sleep(0)
