"""`forecourt schema`: print the JSON Schema of a policy file, for editors; `--path` says where the package has it."""

import argparse

from forecourt.schema import PATH, text


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    words = "print the JSON Schema of a policy file, for editors"
    parser = commands.add_parser("schema", help=words, description=words)
    parser.add_argument("--path", action="store_true", help="only say where the package has it")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    print(PATH if given.path else text(), end="\n" if given.path else "")
    return 0
