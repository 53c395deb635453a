"""`forecourt secrets`: keys for a config's `keys`, which seal and sign.

forecourt secrets new                  print a new key: put it into a file or a variable, and name that first
forecourt secrets check module:app     which keys a config has, by id, and what each does; never a key
"""

import argparse
import secrets

from forecourt.cli_app import imported
from forecourt.config_encryption import installed
from forecourt.inspection import inspect

_BYTES = 32


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its acts."""
    words = "make keys that seal and sign, and say which a config has"
    acts = commands.add_parser("secrets", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    words = "print a new key of 32 random bytes"
    acts.add_parser("new", help=words, description=words).set_defaults(run=_new)
    words = "say which keys a config has, by id"
    check = acts.add_parser("check", help=words, description=words)
    check.add_argument("app", metavar="module:app", help="as a server is told: package.module:variable")
    check.set_defaults(run=_check)


def _new(_: argparse.Namespace) -> int:
    print(secrets.token_urlsafe(_BYTES))
    return 0


def _check(given: argparse.Namespace) -> int:
    inspection = inspect(imported(given.app))
    ring = inspection.config.key_ring
    if ring is None:
        print('the config has no keys: say keys = ["env:NAME"]')
        return 1
    for place, name in enumerate(ring.ids()):
        print(f"{name}  {'opens and verifies' if place else 'seals and signs, opens and verifies'}")
    sealed = [
        endpoint.name
        for endpoint, policy in inspection.endpoints
        if policy is not None and policy.encryption is not None and policy.encryption.at_rest
    ]
    print(f"sealed at rest: {', '.join(sealed) or 'nothing'}")
    if not installed():
        print("cryptography is not installed: pip install 'forecourt[encryption]'")
    return 0
