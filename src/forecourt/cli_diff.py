"""`forecourt diff`: what changes between two configs, and where that loosens protection.

forecourt diff policies.toml policies-new.toml
forecourt diff main:app policies.toml

Exit 0 where nothing differs, 1 where something does.
"""

import argparse
from pathlib import Path

from forecourt.cli_app import imported
from forecourt.config import EndpointLike, JobConfig
from forecourt.config_diff import changes
from forecourt.config_spelling import spelt_change
from forecourt.inspection import guarded


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    words = "say what differs between two configs, and where protection is loosened; exit 1 where something does"
    parser = commands.add_parser("diff", help=words, description=words)
    for name in ("old", "new"):
        parser.add_argument(name, metavar=name.upper(), help="a policy file, or module:app")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    old, of_old = _target(given.old)
    new, of_new = _target(given.new)
    known = None if of_old is None and of_new is None else [*(of_old or ()), *(of_new or ())]
    found = changes(old, new, known)
    for change in found:
        print(spelt_change(change))
        for word in change.looser:
            print(f"  looser: {word}")
    if not found:
        print("no difference.")
    return 1 if found else 0


def _target(target: str) -> tuple[JobConfig, list[EndpointLike] | None]:
    if Path(target).suffix in (".toml", ".yaml", ".yml", ".json"):
        return JobConfig.from_file(target), None
    found = guarded(imported(target))
    return found.config, list(found.table.endpoints)
