"""Runs one group in a process of its own and writes it as JSON: `python -m benchmarks.one_group NAME FILE [--quick]`.

Peers keep state in modules and start threads; a process per group keeps them out of each other's figures.
"""

import asyncio
import importlib
import json
import logging
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import uvloop

from benchmarks.bench import Bench
from benchmarks.results import Group


def main(name: str, file: Path, *, quick: bool) -> None:
    """Measure the group and write it to the file."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    module = importlib.import_module(f"benchmarks.groups.{name}")
    bench = Bench(quick=quick)
    try:
        tables = uvloop.run(module.run(bench))
    finally:
        bench.close()
    group = Group(name, module.TITLE, module.ABOUT, tables, list(getattr(module, "MISSING", [])))
    file.write_text(json.dumps(asdict(group)), "utf-8")


if __name__ == "__main__":
    asyncio.set_event_loop(None)
    main(sys.argv[1], Path(sys.argv[2]), quick="--quick" in sys.argv)
