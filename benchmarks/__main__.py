"""The command behind scripts/bench: measure, print tables of ratios, write JSON, check targets, make the docs."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from pkgutil import iter_modules

from benchmarks import docs, groups, report, targets
from benchmarks.machine import machine, versions
from benchmarks.repeated import AGREEMENT, joined
from benchmarks.results import Run

GROUPS = sorted(module.name for module in iter_modules(groups.__path__))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 when a target is missed, 2 when a group failed."""
    options = _options(arguments)
    runs = [_load(file) for file in options.from_files or ()]
    run, failed = (joined(runs), []) if runs else _measure(options.groups or GROUPS, quick=options.quick)
    for group in run.groups:
        print(report.text(group))
    if options.json:
        options.json.write_text(run.dumps(), "utf-8")
    if options.docs and not failed:
        docs.write(run, Path("docs"))
    missed = _print_targets(run)
    if told := run.machine.get(AGREEMENT):
        print(f"\nRun to run: {told}.")
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
        return 2
    return 1 if options.check and missed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of: {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: five to six minutes on 2 cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed by more than noise")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md, its JSON and charts")
    parser.add_argument(
        "--from",
        dest="from_files",
        action="append",
        type=Path,
        metavar="FILE",
        help="measure nothing; read a run's JSON. Given again, the rounds of all, and how far the runs agree",
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))}; there are: {', '.join(GROUPS)}")
    if options.docs and options.groups:
        parser.error("--docs shows all groups: name none")
    return options


def _load(file: Path) -> Run:
    return Run.from_json(json.loads(file.read_text("utf-8")))


def _measure(names: Sequence[str], *, quick: bool) -> tuple[Run, list[str]]:
    """Run each group in a process of its own; a group that fails is named, and the others go on."""
    document = {"machine": machine(quick=quick), "versions": versions(), "groups": []}
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        for number, name in enumerate(names, 1):
            file = Path(directory) / f"{name}.json"
            started = time.monotonic()
            print(f"== {number}/{len(names)} {name}", file=sys.stderr, flush=True)
            command = [sys.executable, "-m", "benchmarks.one_group", name, str(file), *(["--quick"] if quick else [])]
            if subprocess.run(command, check=False).returncode:
                failed.append(name)
                continue
            print(f"   {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            document["groups"].append(json.loads(file.read_text("utf-8")))  # type: ignore[attr-defined]  # it is a list
    return Run.from_json(document), failed


def _print_targets(run: Run) -> bool:
    verdicts = targets.check(run)
    print("\nTargets of the design")
    for verdict in verdicts:
        print(f"  {verdict}")
    return any(verdict.verdict == "missed" for verdict in verdicts)


if __name__ == "__main__":
    sys.exit(main())
