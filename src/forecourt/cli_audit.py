"""`forecourt audit verify`: whether an audit trail is as it was written.

forecourt audit verify audit.jsonl --key env:AUDIT_KEY     exit 1 and a line for each thing that is wrong
… | forecourt audit verify - --key env:AUDIT_KEY           the same, of what a table or a stream gives
"""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from forecourt.audit import PURPOSE
from forecourt.core.audit import faults
from forecourt.errors import ConfigError
from forecourt.policies.keys import KeyRing, key_ring


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its act."""
    words = "check that an audit trail is as it was written"
    acts = commands.add_parser("audit", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    verify = acts.add_parser("verify", help=words, description=words)
    verify.add_argument("file", type=Path, metavar="FILE", help="the trail; - for standard input")
    verify.add_argument(
        "--key", action="append", required=True, metavar="env:NAME|file:PATH", help="a key of the config's `keys`"
    )
    verify.set_defaults(run=_verify)


def _verify(given: argparse.Namespace) -> int:
    ring = _ring(given.key)
    try:
        lines = (sys.stdin.buffer.read() if str(given.file) == "-" else given.file.read_bytes()).splitlines()
    except OSError as error:
        raise ConfigError(f'trail "{given.file}" cannot be read: {error.strerror}') from None
    found = list(faults(lines, lambda key, mac, signed: ring.verify(PURPOSE, key, mac, signed)))
    for fault in found:
        print(f"{given.file}:{fault.line}: {fault.said}")
    print(f"{len(lines)} records, {len(found) or 'nothing'} wrong")
    return 1 if found else 0


def _ring(named: list[str]) -> KeyRing:
    try:
        ring = key_ring(named)
    except ValidationError as error:
        raise ConfigError(*(f"--key: {each['msg']}" for each in error.errors())) from None
    assert ring is not None, "there is at least one"
    return ring
