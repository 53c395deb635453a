"""What many checks say together."""

import pytest

from forecourt.core.health import Finding, Standing, together, written

PASS, WARN, FAIL = Finding("a", "pass"), Finding("b", "warn"), Finding("c:main", "fail")


@pytest.mark.parametrize(
    ("findings", "fatal", "standing"),
    [
        ([], {"a"}, "pass"),
        ([PASS], {"a"}, "pass"),
        ([PASS, WARN], {"b"}, "warn"),
        ([PASS, FAIL], set(), "warn"),
        ([PASS, FAIL], {"c"}, "fail"),
        ([FAIL, WARN], {"c:main"}, "fail"),
        ([FAIL, WARN], {"c:other"}, "warn"),
    ],
)
def test_only_fatal_failures_make_it_fail(findings: list[Finding], fatal: set[str], standing: Standing) -> None:
    """By the whole name or the part before its colon; anything else that is not well is degraded."""
    assert together(findings, fatal) == standing


def test_a_document_names_each_check() -> None:
    """With what it found and how long it took."""
    assert written("warn", [Finding("store", "fail", "gone", 1500)])["checks"] == {
        "store": [{"status": "fail", "observedValue": 1.5, "observedUnit": "ms", "output": "gone"}]
    }
