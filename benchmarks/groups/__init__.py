"""One module per group of benchmarks, found by its name.

A module has `TITLE`, `ABOUT` (both for the docs) and `async def run(bench) -> list[Table]`; `MISSING`, where it has it,
lists what could not be measured, and why.
"""
