"""TLS: the server's certificate is checked, unless the URL says otherwise."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.servers import HOST, Valkey, eventually
from tests.stores.redis.conftest import Connect
from tests.stores.redis.proxy import Proxy

pytestmark = [
    pytest.mark.valkey,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate"),
]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of this machine's address, in one file, trusted by nobody."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {path} -out {path}.crt "
        f"-days 2 -subj /CN=test -addext subjectAltName=IP:{HOST} -addext keyUsage=digitalSignature,keyCertSign"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_trusted_certificate_is_accepted(
    valkey: Valkey, connect: Connect, tls: ssl.SSLContext, certificate: Path
) -> None:
    """`ssl_ca_certs` names whom to trust; a large body passes too."""
    async with Proxy(valkey, tls) as proxy:
        client = await connect(f"{proxy.url}?ssl_ca_certs={certificate}")
        await client.call("SET", "k", b"x" * 1_000_000)
        assert await client.call("STRLEN", "k") == 1_000_000
        await client.close()


async def test_an_unknown_certificate_is_refused(valkey: Valkey, connect: Connect, tls: ssl.SSLContext) -> None:
    """By default: down, with the reason."""
    async with Proxy(valkey, tls) as proxy:
        client = await connect(proxy.url)
        await eventually(lambda: client.state == "down")
        assert "CERTIFICATE_VERIFY_FAILED" in str(client.health)
        await client.close()


async def test_a_certificate_may_go_unchecked(valkey: Valkey, connect: Connect, tls: ssl.SSLContext) -> None:
    """By the operator's word."""
    async with Proxy(valkey, tls) as proxy:
        client = await connect(f"{proxy.url}?ssl_cert_reqs=none&ssl_check_hostname=false")
        assert await client.call("PING") == b"PONG"
        await client.close()
