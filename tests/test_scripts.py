"""The scripts that are Python: the changelog from its fragments, and requirements for installers without groups."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with the script, an older version in its changelog, and three fragments."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "changelog", tmp_path / "scripts")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\nWords.\n\n## 0.1.0 (2026-01-01)\n\n### Added\n\n- All.\n", "utf-8"
    )
    (tmp_path / "changelog").mkdir()
    for name in ("0003-c.fixed", "0002-b.added", "0001-a.added"):
        (tmp_path / "changelog" / f"{name}.md").write_text(f"What {name} says.\n", "utf-8")
    return tmp_path


def changelog(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a person would, from elsewhere."""
    command = [sys.executable, str(project / "scripts" / "changelog"), *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)


SECTION = (
    "### Added\n\n- What 0001-a.added says.\n- What 0002-b.added says.\n\n### Fixed\n\n- What 0003-c.fixed says.\n"
)


def test_fragments_are_shown_together(project: Path) -> None:
    """Without a version the section is printed, by kind and number, and nothing changes."""
    before = sorted(project.rglob("*"))
    assert changelog(project).stdout.rstrip("\n") + "\n" == f"## Unreleased\n\n{SECTION}"
    assert sorted(project.rglob("*")) == before


def test_a_release_moves_the_fragments_into_the_changelog(project: Path) -> None:
    """With a version its section stands first, dated, and the fragments are gone."""
    assert changelog(project, "0.2.0").returncode == 0
    text = re.sub(r"0\.2\.0 \(\d{4}-\d\d-\d\d\)", "0.2.0 (today)", (project / "CHANGELOG.md").read_text("utf-8"))
    assert text == (
        f"# Changelog\n\nWords.\n\n## 0.2.0 (today)\n\n{SECTION}\n## 0.1.0 (2026-01-01)\n\n### Added\n\n- All.\n"
    )
    assert list((project / "changelog").iterdir()) == []


@pytest.mark.parametrize("name", ["3-c.added.md", "0003-c.md", "0003-c.better.md", "0003.added.md", "README.md"])
def test_a_fragment_of_no_known_kind_is_refused(project: Path, name: str) -> None:
    """A wrongly named fragment is named with the right form, and nothing is written."""
    (project / "changelog" / name).write_text("Lost.\n", "utf-8")
    done = changelog(project, "0.2.0")
    assert done.returncode == 1
    assert f"{name}: must be 0000-words.KIND.md" in done.stderr
    assert "0.2.0" not in (project / "CHANGELOG.md").read_text("utf-8")


def requirements(*arguments: str) -> list[str]:
    """Return the lines that `_requirements` prints."""
    command = [sys.executable, str(ROOT / "scripts" / "_requirements"), *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout.splitlines()


def test_groups_are_printed_as_requirements() -> None:
    """A group's lines are those of pyproject.toml, in order."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    assert requirements("check", "test") == groups["check"] + groups["test"]


def test_the_oldest_versions_are_the_floors() -> None:
    """Each dependency and each extra is pinned to the lowest version it allows, its own extras kept."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    ranges = project["dependencies"] + [each for name in extras if name != "all" for each in extras[name]]
    assert requirements("--oldest") == [each.partition(",")[0].replace(">=", "==") for each in ranges]


@pytest.mark.parametrize(
    "path",
    [*filter(Path.is_file, sorted((ROOT / "scripts").iterdir())), ROOT / ".ci" / "run"],
    ids=lambda path: path.name,
)
def test_scripts_can_be_started(path: Path) -> None:
    """Every script has its interpreter in its first line and may be executed; `_env` is only sourced."""
    started = path.read_text("utf-8").startswith("#!/usr/bin/env ")
    assert (started, os.access(path, os.X_OK)) == (path.name != "_env", path.name != "_env")
