"""What is published: the public names, the version, and the files of the wheel and the source archive."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import forecourt

ROOT = Path(__file__).parent.parent
BARE = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import forecourt, pkgutil
for name in forecourt.__all__:
    getattr(forecourt, name)
"""


@functools.cache
def of_extras() -> set[str]:
    """Return the top-level modules of what our extras install and our dependencies do not."""
    requirements = metadata.requires("forecourt") or []
    extras = {re.split(r"[^\w.-]", each)[0].lower() for each in requirements if "extra ==" in each}
    return {
        module
        for module, distributions in metadata.packages_distributions().items()
        if extras & {each.lower() for each in distributions}
    }


def test_the_extras_are_known() -> None:
    """Every extra's package is among those that the bare import does without."""
    assert {"fastapi", "redis", "yaml"} <= of_extras() - {"forecourt"}


def test_import_needs_no_extra() -> None:
    """`import forecourt`, and every public name, works where no extra is installed."""
    absent = [*(of_extras() - {"forecourt"}), "hiredis", "uvicorn", "httpx", "sqlalchemy"]
    done = subprocess.run([sys.executable, "-c", BARE, *absent], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_absent_package_is_noticed() -> None:
    """The import above can fail: without a package that forecourt requires, it does."""
    done = subprocess.run([sys.executable, "-c", BARE, "pydantic"], capture_output=True, text=True, check=False)
    assert "No module named 'pydantic'" in done.stderr


def test_public_names_are_sorted() -> None:
    """`__all__` names each public name once: constants, classes, functions, each in alphabetical order."""
    names = forecourt.__all__
    kinds = [(0 if name.isupper() else 1 if name[0].isupper() else 2, name) for name in names]
    assert kinds == sorted(set(kinds))


@pytest.mark.parametrize("name", forecourt.__all__)
def test_public_names_are_there(name: str) -> None:
    """Every public name can be had from `forecourt`, and says of itself what it is."""
    assert getattr(forecourt, name).__doc__


def test_the_version_is_in_one_place() -> None:
    """The version that the package says is the one it was installed under."""
    assert metadata.version("forecourt") == forecourt.__version__


def test_the_tests_run_against_what_was_asked_for() -> None:
    """The package under test is the source tree, or the built wheel where the environment names one."""
    expected = Path(os.environ.get("FORECOURT_TESTED_FROM", ROOT / "src")).resolve()
    assert Path(forecourt.__file__).resolve().parent.parent == expected


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel and the source archive of this tree."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True)
    return folder


def sources() -> set[str]:
    """Return the package's files, by path below `src`."""
    files = (path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT / "src").as_posix() for path in files}


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    """Every file of the package is in the wheel, the Lua and py.typed too, and no file of anything else."""
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in names if name.startswith(f"forecourt-{forecourt.__version__}.dist-info/")}
    assert names - about == sources()
    assert {name.rpartition("/")[2] for name in about} >= {"METADATA", "LICENSE", "entry_points.txt"}


@pytest.mark.slow
def test_the_wheel_is_the_same_wherever_and_whenever_it_is_built(built: Path, tmp_path: Path) -> None:
    """Byte for byte, from a copy of the tree whose files are younger and may be read by fewer."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "src", tmp_path / "src", copy_function=shutil.copyfile)
    for path in (tmp_path / "src").rglob("*.py"):
        path.chmod(0o600)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"], cwd=tmp_path, check=True)
    [first], [second] = built.glob("*.whl"), (tmp_path / "dist").glob("*.whl")
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())


def test_the_package_has_what_is_not_python() -> None:
    """The marker for type checkers and the scripts for the store lie where the wheel takes them from."""
    assert "forecourt/py.typed" in sources()
    assert "forecourt/stores/lua/token_bucket.lua" in sources()


def test_the_source_archive_holds_what_its_tests_need(built: Path) -> None:
    """From the source archive the package can be built, tested and read about."""
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "scripts/_env"}
    needed |= {f"src/{name}" for name in sources()}
    needed |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert needed - names == set()
