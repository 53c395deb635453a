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
from benchmarks.repeated import AGREEMENT, joined, whole
from benchmarks.results import Group, Run

PASSES = 2
"""How often all groups are measured: the second pass is minutes after the first, when the machine may be another."""

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
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: about five minutes on 2 cores")
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
    """Measure each group in every pass, in a process of its own; one that fails is named, and the others go on."""
    passes: dict[str, list[Group]] = {name: [] for name in names}
    failed: list[str] = []
    for number in range(1, PASSES + 1):
        for place, name in enumerate(names, 1):
            if name not in failed:
                print(f"== pass {number} of {PASSES}, {place}/{len(names)} {name}", file=sys.stderr, flush=True)
                group = _group(name, quick=quick)
                failed += [name] if group is None else []
                passes[name] += [] if group is None else [group]
    groups = [whole(found) for name, found in passes.items() if name not in failed]
    return Run(machine(quick=quick), versions(), groups), failed


def _group(name: str, *, quick: bool) -> Group | None:
    """Measure one group; None where it failed."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "group.json"
        command = [sys.executable, "-m", "benchmarks.one_group", name, str(file), *(["--quick"] if quick else [])]
        if subprocess.run(command, check=False).returncode:
            return None
        print(f"   {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        return Group.from_json(json.loads(file.read_text("utf-8")))


def _print_targets(run: Run) -> bool:
    verdicts = targets.check(run)
    print("\nTargets of the design")
    for verdict in verdicts:
        print(f"  {verdict}")
    return any(verdict.verdict == "missed" for verdict in verdicts)


if __name__ == "__main__":
    sys.exit(main())
