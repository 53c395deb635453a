"""The development issuer: a key of this machine's user, and tokens that count on this machine only."""

import base64
import json
import stat
import time
from pathlib import Path

import pytest

from forecourt import ConfigError, Issuer
from forecourt.auth.development import development_token
from forecourt.auth.opening import DEVELOPMENT_KEY, development_file, development_secret
from forecourt.cli import main
from forecourt.testing import FakeClock
from tests.asgi import call, http
from tests.auth.service import Guarded, problem

ISSUER = Issuer(audience="tests", development=True)


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for the key that is no user's."""
    path = tmp_path / "state" / "development.key"
    monkeypatch.setenv(DEVELOPMENT_KEY, str(path))
    return path


class Developing(Guarded):
    """A service that believes the development issuer, on the machine's own clock."""

    def __init__(self) -> None:
        super().__init__(issuers=[ISSUER])
        self.now()

    def now(self) -> None:
        """Set the clock to the machine's."""
        assert isinstance(self.clock, FakeClock)
        self.clock.advance(time.time() - self.clock.now() / 1_000_000)

    async def status(self, client: str, *fields: tuple[bytes, bytes]) -> int:
        """Call from an address."""
        token = development_token(ISSUER, "me", id="one").encode()
        scope = http("/", client=client, headers=[(b"authorization", b"Bearer " + token), *fields])
        return (await call(self.app, scope)).status


async def test_its_tokens_count_on_loopback_only() -> None:
    """Not from elsewhere, not through a proxy, also when the same token was seen before; not without an address."""
    service = Developing()
    for client, status in (("127.0.0.1", 200), ("192.0.2.1", 401), ("::1", 200), ("unix", 401)):
        assert await service.status(client) == status, client
    assert await service.status("127.0.0.1", (b"x-forwarded-for", b"127.0.0.1")) == 401
    scope = http("/", headers=[(b"authorization", f"Bearer {development_token(ISSUER, 'me', id='one')}".encode())])
    scope["client"] = None
    answer = await call(service.app, scope)
    assert (answer.status, problem(answer)) == (401, "invalid-credentials")


async def test_a_token_that_was_never_seen_is_refused_from_elsewhere() -> None:
    """It counts here afterwards: being refused there has made nothing of it."""
    service = Developing()
    fields = [(b"authorization", f"Bearer {development_token(ISSUER, 'me', id='one')}".encode())]
    for client, status in (("192.0.2.1", 401), ("192.0.2.1", 401), ("127.0.0.1", 200)):
        assert (await call(service.app, http("/", client=client, headers=fields))).status == status


async def test_a_remembered_token_is_refused_from_elsewhere() -> None:
    """What this machine has seen does not count for others."""
    service = Developing()
    fields = [(b"authorization", f"Bearer {development_token(ISSUER, 'me', id='one')}".encode())]
    assert (await call(service.app, http("/", client="127.0.0.1", headers=fields))).status == 200
    assert (await call(service.app, http("/", client="192.0.2.1", headers=fields))).status == 401


def test_the_key_is_made_once_and_only_its_owner_can_read_it(key: Path) -> None:
    """Two processes that begin at once have the same."""
    secret = development_secret()
    assert (development_secret(), len(secret)) == (secret, 64)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [*key.parent.iterdir()] == [key]


def test_where_the_key_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the user's own state, unless the environment says otherwise."""
    monkeypatch.delenv(DEVELOPMENT_KEY)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert development_file() == tmp_path / "forecourt" / "development.key"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert development_file().parts[-4:] == (".local", "state", "forecourt", "development.key")


def test_a_key_that_cannot_be_had(key: Path, tmp_path: Path) -> None:
    """ConfigError names the file."""
    key.mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        development_secret()
    key.rmdir()
    key.parent.rmdir()
    (tmp_path / "state").write_text("a file where a folder must be")
    with pytest.raises(ConfigError, match="cannot be"):
        development_secret()


def test_a_key_that_cannot_be_made(key: Path, tmp_path: Path) -> None:
    """ConfigError names the file: its folder is a link to nowhere."""
    key.parent.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=rf'the development key "{key}" cannot be made: FileExistsError'):
        development_secret()


async def test_a_token_says_things_where_the_issuer_looks_for_them() -> None:
    """Scopes, roles, tenant and tier, in claims of any name and depth; what has no claim is refused by name."""
    issuer = Issuer(
        audience="tests",
        development=True,
        scopes_claim="permissions",
        roles_claim="realm_access.roles",
        tenant_claim="org.id",
        tier_claim=["plan", "tier"],
    )
    token = development_token(issuer, "me", id="one", scopes={"a"}, roles=["r"], tenant="red", tier="gold")
    middle = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    assert {name: claims[name] for name in ("permissions", "realm_access", "org", "plan")} == {
        "permissions": "a",
        "realm_access": {"roles": ["r"]},
        "org": {"id": "red"},
        "plan": "gold",
    }
    with pytest.raises(ConfigError, match="tenant_claim is not given"):
        development_token(ISSUER, "me", id="one", tenant="red")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`forecourt token` prints a token with these scopes and roles; without such an issuer it says why not."""
    config = tmp_path / "policies.toml"
    config.write_text('[[issuers]]\ndevelopment = true\naudience = "tests"\n[endpoints]\n')
    assert main(["token", "--scope", "a", "--role", "r", "--config", str(config)]) == 0
    assert capsys.readouterr().out.count(".") == 2
    config.write_text("[endpoints]\n")
    assert main(["token", "--config", str(config)]) == 2
    assert "none of them says `development = true`" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="is not for development"):
        development_token(Issuer(issuer="https://a.example", audience="b", secret="s" * 32), "me", id="one")
