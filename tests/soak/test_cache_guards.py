"""The short form of `scripts/soak cache-guards`: the list holds of the sources, and a missing guard is seen."""

from pathlib import Path

import pytest

from tests.soak.cache_guards import GUARDS, ROOT, Change, Guard, copied, seen


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_each_guard_is_one_line_of_the_sources(guard: Guard) -> None:
    """A line that is not there, or twice, would take nothing away, or too much."""
    for file, line, becomes in guard.changes:
        assert (ROOT / "src" / "forecourt" / file).read_text().count(line) == 1
        assert line != becomes


def test_the_docs_name_each_guard() -> None:
    """In the table of the page on the cache."""
    page = (ROOT / "docs" / "layers" / "cache.md").read_text()
    assert [guard.name for guard in GUARDS if guard.name not in page] == []


@pytest.mark.slow
def test_a_missing_guard_is_seen_and_put_back(tmp_path: Path) -> None:
    """The requests find that `private` is missing; afterwards the copy is as the sources are."""
    package = copied(tmp_path)
    private = next(guard for guard in GUARDS if guard.name == "private")
    assert seen(private, package, requests=2000)
    (change,) = private.changes
    assert (package / change.file).read_text() == (ROOT / "src" / "forecourt" / change.file).read_text()


def test_a_copy_that_cannot_run_is_no_leak(tmp_path: Path) -> None:
    """It says so, rather than count for a guard that was seen."""
    package = copied(tmp_path)
    broken = Guard("broken", (Change("types.py", '"""', "raise"),))
    with pytest.raises(RuntimeError, match="broken"):
        seen(broken, package, requests=20)
