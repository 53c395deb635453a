"""Turns what a config says of issuers into what verifies their tokens; libraries are imported only where needed."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, cast

from forecourt.auth.jwks import RemoteRing, Terms
from forecourt.auth.rings import FixedRing, Ring
from forecourt.auth.tokens import Trusted
from forecourt.core.tokens import Paths, Rules
from forecourt.errors import ConfigError
from forecourt.policies.issuer import Introspection, Issuer, Jwk
from forecourt.policies.quantities import exact, microseconds
from forecourt.policies.texts import listed
from forecourt.policies.wording import spelt
from forecourt.types import Clock

if TYPE_CHECKING:
    from forecourt.auth.fetching import Fetcher
    from forecourt.auth.jose import VerifyingKey

DEVELOPMENT_KEY = "FORECOURT_DEVELOPMENT_KEY"
"""The variable that names the file of the development key."""


def trusted(issuer: Issuer, place: int, fetcher: Callable[[], "Fetcher"], clock: Clock) -> Trusted:
    """Prepare an issuer of the config; ConfigError names the key that cannot be used, never shows it."""
    rules = Rules(
        issuer.issuer,
        frozenset(listed(issuer.audience)),
        frozenset(each.lower().removeprefix("application/") for each in listed(issuer.types)),
        microseconds(issuer.leeway),
        *claim_paths(issuer),
    )
    if issuer.development:
        rules = rules._replace(types=rules.types | {"jwt"})
    return Trusted(rules, issuer.allowed, _ring(issuer, place, fetcher, clock), local=issuer.development)


def claim_paths(policy: Issuer | Introspection) -> tuple[Paths, Paths, Paths | None, Paths | None]:
    """Return where tokens say scopes, roles, tenant and tier."""
    tenant, tier = policy.tenant_claim, policy.tier_claim
    return (
        listed(policy.scopes_claim),
        listed(policy.roles_claim),
        None if tenant is None else listed(tenant),
        None if tier is None else listed(tier),
    )


def _ring(issuer: Issuer, place: int, fetcher: Callable[[], "Fetcher"], clock: Clock) -> Ring:
    jose()
    if issuer.jwks_url is not None or issuer.discovery:
        from forecourt.auth.jose import jwk_set  # noqa: PLC0415  # the extra `auth` is optional

        terms = Terms(
            issuer.jwks_url,
            issuer.issuer,
            microseconds(issuer.refresh),
            microseconds(issuer.cooldown),
            float(exact(issuer.fetch_timeout)),
        )
        return RemoteRing(terms, fetcher().get, lambda document: jwk_set(document, public=True), clock)
    keys = [(where, key) for where, found in _inline(issuer, place) for key in found]
    for where, key in keys:
        flaws = {key.flaw(algorithm) for algorithm in issuer.allowed}
        if None not in flaws:
            algorithms = ", ".join(sorted(issuer.allowed))
            reasons = " and ".join(sorted(flaw for flaw in flaws if flaw))
            raise ConfigError(f"{where}: this key cannot be used with {algorithms}: {reasons}")
    return FixedRing(key for _, key in keys)


def _inline(issuer: Issuer, place: int) -> list[tuple[str, list["VerifyingKey"]]]:
    from forecourt.auth.jose import WeakKeyError, imported, shared  # noqa: PLC0415  # the extra `auth` is optional

    listed: list[tuple[str, list[VerifyingKey]]] = []
    where = spelt(("issuers", place, "secret"))
    try:
        if issuer.secret is not None:
            return [(where, [shared(issuer.secret)])]
        if issuer.development:
            return [(where, [shared(development_secret())])]
        for position, source in enumerate(cast("Sequence[str | Jwk]", issuer.keys or ())):
            where = spelt(("issuers", place, "keys", position))
            listed.append((where, imported(_text(source, where))))
    except WeakKeyError as error:
        raise ConfigError(f"{where}: this key cannot be used: {error}") from None
    return listed


def _text(source: str | Jwk, where: str) -> str | Jwk:
    """Return a key, from its file where it is in one; in config files that is done already."""
    if not isinstance(source, str) or not source.startswith("file:"):
        return source
    path = source.removeprefix("file:")
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{where}: "{path}" cannot be read: {type(error).__name__}') from None


def jose() -> None:
    """See that tokens can be verified at all; ConfigError where the extra is not installed."""
    try:
        import forecourt.auth.jose  # noqa: F401, PLC0415  # the extra `auth` is optional
    except ImportError as error:
        raise ConfigError("issuers: tokens need joserfc: pip install 'forecourt[auth]'") from error


def new_fetcher() -> "Fetcher":
    """Return what asks other servers; ConfigError where the extra is not installed."""
    try:
        from forecourt.auth.fetching import Fetcher  # noqa: PLC0415  # the extra `auth` is optional
    except ImportError as error:
        raise ConfigError("issuers: fetching keys needs httpx: pip install 'forecourt[auth]'") from error
    return Fetcher()


def development_secret() -> str:
    """Return the development key of this machine's user, made at its first use; only they can read its file."""
    path = development_file()
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'the development key "{path}" cannot be read: {type(error).__name__}') from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{token_hex(8)}")
        with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token_hex(32))
        with suppress(FileExistsError):  # another process was first; its key counts
            os.link(own, path)
        own.unlink()
        return path.read_text("ascii")
    except OSError as error:
        raise ConfigError(f'the development key "{path}" cannot be made: {type(error).__name__}') from None


def development_file() -> Path:
    """Return where the development key lies: FORECOURT_DEVELOPMENT_KEY, else in the user's own state."""
    named = os.environ.get(DEVELOPMENT_KEY)
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return Path(state or Path.home() / ".local" / "state", "forecourt", "development.key")
