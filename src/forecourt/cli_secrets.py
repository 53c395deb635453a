"""`forecourt secrets`: keys for a config's `keys`, which seal and sign, and `payload_keys`, which open.

forecourt secrets new                  print a new key: put it into a file or a variable, and name that first
forecourt secrets new --jwk x25519     print a new private key of payload_keys, or of a caller
forecourt secrets public FILE          print the public half of such a key, to be given away
forecourt secrets rotate FILE STEP     put a new key into a ring file, in steps that no request notices
forecourt secrets check module:app     which keys a config has, by id, and what each does; never a key
"""

import argparse
import json
import os
import secrets
from pathlib import Path

from forecourt.cli_app import imported
from forecourt.config_encryption import installed
from forecourt.core.ring_file import added, read, retired, used, written
from forecourt.errors import ConfigError
from forecourt.inspection import Inspection, inspect
from forecourt.payload.keys import KINDS, generated
from forecourt.policies.keys import KeyRing
from forecourt.policies.payload_keys import PRIVATE, jwks_in

_BYTES = 32
_NEXT = {
    "add": "have all processes read it again (restart one after the other), then: use",
    "use": "have all processes read it again; when the longest ttl has passed: retire the old one",
    "retire": "have all processes read it again; it is over",
}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its acts."""
    words = "make keys that seal, sign and open, rotate them, and say which a config has"
    acts = commands.add_parser("secrets", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    words = "print a new key of 32 random bytes, or a private JWK"
    new = acts.add_parser("new", help=words, description=words)
    new.add_argument("--jwk", choices=KINDS, help="a key for contents that are sealed from end to end")
    new.add_argument("--kid", help="its id; otherwise a random one")
    new.set_defaults(run=_new)
    words = "print the public half of a private JWK or JWK set"
    public = acts.add_parser("public", help=words, description=words)
    public.add_argument("file", help="where the private key is")
    public.set_defaults(run=_public)
    words = "change the keys of a ring file by one step of a rotation"
    rotate = acts.add_parser("rotate", help=words, description=words)
    rotate.add_argument("file", type=Path, help="the ring file, which `keys` names as file:PATH; add makes it")
    rotate.add_argument("step", choices=["add", "use", "retire"])
    rotate.add_argument("id", nargs="?", help="of retire: which key, as `rotate` and `check` print it")
    rotate.set_defaults(run=_rotate)
    words = "say which keys a config has, by id"
    check = acts.add_parser("check", help=words, description=words)
    check.add_argument("app", metavar="module:app", help="as a server is told: package.module:variable")
    check.set_defaults(run=_check)


def _new(given: argparse.Namespace) -> int:
    if given.jwk is None:
        print(secrets.token_urlsafe(_BYTES))
    else:
        print(json.dumps(generated(given.jwk, given.kid or secrets.token_hex(4))))
    return 0


def _public(given: argparse.Namespace) -> int:
    try:
        keys = jwks_in(f"file:{given.file}")
    except ValueError as error:
        raise ConfigError(f"{given.file}: {error}") from None
    halves = [
        {name: value for name, value in key.items() if name not in PRIVATE} for key in keys if key["kty"] != "oct"
    ]
    if not halves:
        raise ConfigError(f"{given.file}: a secret that is shared has no public half")
    print(json.dumps(halves[0] if len(halves) == 1 else {"keys": halves}))
    return 0


def _rotate(given: argparse.Namespace) -> int:
    path: Path = given.file
    ring = read(path.read_bytes()) if path.exists() else ()
    if ring is None or (not ring and given.step != "add"):
        raise ConfigError(f'"{path}" is no ring file; `forecourt secrets rotate` makes one where there is none')
    if (given.step == "retire") != (given.id is not None):
        raise ConfigError("retire takes the id of a key, add and use take none")
    try:
        ring = _stepped(ring, given.step, given.id)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    _write(path, written(ring))
    for place, secret in enumerate(ring):
        print(_line(place, _id(secret)))
    print(f"next: {_NEXT[given.step]}")
    return 0


def _stepped(ring: tuple[bytes, ...], step: str, name: str | None) -> tuple[bytes, ...]:
    if step == "add":
        return added(ring, secrets.token_urlsafe(_BYTES).encode())
    return used(ring) if name is None else retired(ring, name, _id)


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole, readable for its owner only."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _id(secret: bytes) -> str:
    return KeyRing([secret]).ids()[0]


def _line(place: int, name: str) -> str:
    return f"{name}  {'opens and verifies' if place else 'seals and signs, opens and verifies'}"


def _check(given: argparse.Namespace) -> int:
    inspection = inspect(imported(given.app))
    ring = inspection.config.key_ring
    if ring is None and inspection.config.keyring is None:
        print('the config has no keys: say keys = ["env:NAME"]')
        return 1
    for place, name in enumerate(ring.ids() if ring else ()):
        print(_line(place, name))
    if (keys := inspection.config.payload_keys) is not None:
        for key in keys.owned():
            print(f"{key.get('kid', '(no kid)')}  opens contents ({key['kty']})")
    print(f"sealed at rest: {', '.join(_at_rest(inspection)) or 'nothing'}")
    if sealed := _end_to_end(inspection):
        print(f"sealed from end to end: {', '.join(sealed)}")
    if not installed():
        print("cryptography is not installed: pip install 'forecourt[encryption]'")
    return 0


def _at_rest(inspection: Inspection) -> list[str]:
    return [
        each.name for each, policy in inspection.endpoints if policy and policy.encryption and policy.encryption.at_rest
    ]


def _end_to_end(inspection: Inspection) -> list[str]:
    found = [(each.name, policy.encryption) for each, policy in inspection.endpoints if policy and policy.encryption]
    return [f"{name} ({said.format})" for name, said in found if said.end_to_end]
