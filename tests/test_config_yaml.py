"""YAML as a config needs it."""

from pathlib import Path

import pytest

from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.policies import FixedWindow


def file(folder: Path, text: str) -> Path:
    """Write a config file."""
    path = folder / "p.yaml"
    path.write_text(text, "utf-8")
    return path


def refusals(path: Path) -> list[str]:
    """Return the lines with which a file is refused, its folder left out."""
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_file(path)
    return [line.replace(str(path.parent) + "/", "") for line in caught.value.problems]


def test_keys_of_tables_are_text(tmp_path: Path) -> None:
    """YAML can write a number as a name; it is refused where it stands."""
    path = file(tmp_path, "endpoints:\n  5: {}\n  a: {rate_limit: {1: 2}}\n")
    assert refusals(path) == [
        "endpoints: 5 is not allowed: keys must be text",
        'endpoints."a".rate_limit: 1 is not allowed: keys must be text',
    ]


def test_yaml_keeps_its_merges_and_words(tmp_path: Path) -> None:
    """Anchors and merges work, keys may be lists as long as no one uses them, `on` and `off` are text."""
    path = file(
        tmp_path,
        """
        routes: &routes {a: GET /a, off: GET /off}
        endpoints:
          a: &a
            rate_limit: {type: fixed_window, limit: 1, window: 1, shadow: on, name: no}
          b: {<<: *a}
        """,
    )
    config = JobConfig.from_file(path)
    assert config.routes == {"a": "GET /a", "off": "GET /off"}
    assert config.endpoints["b"].rate_limit == FixedWindow(limit=1, window=1, shadow=True, name="no")
    assert config.endpoints["a"] == config.endpoints["b"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{[1]: 2}", "found unhashable key (at line 1, column 2)"),
        (
            "\x00",
            'unacceptable character #x0000: special characters are not allowed\n  in "<unicode string>", position 0',
        ),
    ],
)
def test_strange_yaml(tmp_path: Path, text: str, problem: str) -> None:
    """What PyYAML cannot build is an error like any other."""
    assert refusals(file(tmp_path, text)) == [f'config file "p.yaml" cannot be understood: {problem}']
