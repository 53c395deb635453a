"""The command `forecourt`: what does this config do to that app, without starting a server.

forecourt check module:app     exit 1 and one line for each thing that would stop it at startup
forecourt show module:app      endpoint, path, policies, and where each came from
forecourt explain module:app GET /records/1   what would be decided of a call now, and why; nothing is consumed
forecourt diff OLD NEW         what differs between two configs, and where protection is loosened
forecourt config …             have a running service go over to another config
forecourt schema            the JSON Schema of a policy file, for editors
forecourt audit …              check that an audit trail is as it was written
forecourt init module:app      print a policy file to begin with
forecourt secrets …            make keys that seal and sign, say which a config has
forecourt worker module:app    run the jobs of its queues
forecourt jobs …               list, show, cancel and retry jobs
forecourt credits …            grant credits, read a balance, read an account's journal
forecourt limits …             look where a caller stands with its limits, let it begin anew
forecourt maintenance …        take endpoints out of service for a while
forecourt keys …               create, rotate, list and revoke API keys
forecourt token                sign a token of the development issuer
forecourt revoke …             revoke a token, or all that a subject was given
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence

from forecourt import (
    cli_audit,
    cli_auth,
    cli_config,
    cli_credits,
    cli_diff,
    cli_explain,
    cli_init,
    cli_jobs,
    cli_limits,
    cli_maintenance,
    cli_schema,
    cli_secrets,
    cli_worker,
)
from forecourt.cli_app import imported
from forecourt.config import ResolvedPolicy
from forecourt.config_spelling import spelt_value
from forecourt.errors import ConfigError, StoreError
from forecourt.inspection import Inspection, inspect
from forecourt.routing import Endpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 problems found, 2 it could not run."""
    given = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = given.run
    try:
        return run(given)
    except (ConfigError, StoreError) as error:
        print(error, file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    whole = argparse.ArgumentParser(prog="forecourt", description="Say what protects each endpoint of an app.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, run, words in (
        ("check", _check, "say what would stop the app at startup"),
        ("show", _show, "print endpoint, path, policies, and where each came from"),
    ):
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("app", metavar="module:app", help="as a server is told: package.module:variable")
        command.set_defaults(run=run)
        if name == "check":
            command.add_argument("--strict", action="store_true", help="also say what is weak")
    cli_explain.add_to(commands)
    cli_diff.add_to(commands)
    cli_config.add_to(commands)
    cli_schema.add_to(commands)
    cli_credits.add_to(commands)
    cli_jobs.add_to(commands)
    cli_limits.add_to(commands)
    cli_maintenance.add_to(commands)
    cli_auth.add_to(commands)
    cli_worker.add_to(commands)
    cli_audit.add_to(commands)
    cli_secrets.add_to(commands)
    cli_init.add_to(commands)
    return whole


def _check(given: argparse.Namespace) -> int:
    inspection = inspect(imported(given.app))
    problems = [*inspection.problems, *(inspection.weaknesses if given.strict else ())]
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(inspection.endpoints)} endpoints, no problems.")
    for hint in inspection.hints:
        print(f"hint: {hint}")
    return 1 if problems else 0


def _show(given: argparse.Namespace) -> int:
    inspection = inspect(imported(given.app))
    rows = [("ENDPOINT", "METHODS", "PATH", "POLICY", "FROM"), *_rows(inspection)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for hint in inspection.hints:
        print(f"hint: {hint}")
    return 0


def _rows(inspection: Inspection) -> Iterable[tuple[str, str, str, str, str]]:
    for endpoint, policy in inspection.endpoints:
        first = (endpoint.name, _methods(endpoint), endpoint.path)
        for said, source in _policies(policy):
            yield (*first, said, source)
            first = ("", "", "")


def _methods(endpoint: Endpoint) -> str:
    if endpoint.protocol == "websocket":
        return "WEBSOCKET"
    return ",".join(sorted(endpoint.methods)) if endpoint.methods else "any"


def _policies(policy: ResolvedPolicy | None) -> list[tuple[str, str]]:
    if policy is None:
        return [("nothing: named by no one, and there is no default", "")]
    said = [
        (f"{field} = {spelt_value(value)}", source.source)
        for field, source in policy.fields.items()
        if source.value is not None
        for value in (source.value if isinstance(source.value, tuple) else (source.value,))
    ]
    return [*said, *((f"skipped: {why}", "") for why in policy.skipped)] or [("off", "")]


if __name__ == "__main__":
    sys.exit(main())
