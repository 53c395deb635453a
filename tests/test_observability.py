"""The observability example: what rules and panels name is what the service exposes, and Prometheus takes it all."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from examples.observability.app import app, config
from tests.asgi import get
from tests.db.service import lived
from tests.observing import scraped

EXAMPLE = Path(__file__).parent.parent / "examples" / "observability"
NAME = re.compile(r"\bforecourt_\w+")
RECORDED = re.compile(r"\bendpoint:forecourt_\w+:\w+")
LABELS = re.compile(r"by \(([^)]*)\)|(\w+)=~?\"")


def panels() -> Iterator[str]:
    """Yield the queries of the dashboard."""
    dashboard = json.loads((EXAMPLE / "dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]


def rules() -> list[dict[str, object]]:
    """Return the rules."""
    groups = yaml.safe_load((EXAMPLE / "rules.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    """Return everything that is asked of Prometheus."""
    return [*panels(), *(str(rule["expr"]) for rule in rules())]


async def exposed() -> str:
    """Return what the service exposes once it has worked, from its start to its end as a server has them."""
    async with lived(app):
        for path in ("/quotes/a", "/flaky", "/nowhere", "/records/7", *["/quotes/a"] * 11, *["/flaky"] * 5):
            await get(app, path)
        await get(app, "/digests", "POST")
        for _ in range(21):
            await get(app, "/reports", "POST")
        async with asyncio.timeout(30):
            while "forecourt_job_duration_seconds_bucket" not in (text := await scraped(config)):
                await asyncio.sleep(0.02)  # its jobs are run in this process, when their turn comes
        return text


async def test_every_name_and_label_exists() -> None:
    """What a panel or a rule names, the service exposes, or another rule records."""
    found = [sample for family in text_string_to_metric_families(await exposed()) for sample in family.samples]
    names, labels = {sample.name for sample in found}, {label for sample in found for label in sample.labels}
    recorded = {str(rule["record"]) for rule in rules() if "record" in rule}
    for query in queries():
        for name in RECORDED.findall(query):
            assert name in recorded, query
        for name in NAME.findall(RECORDED.sub("", query)):
            assert name in names, query
        asked = {each.strip() for pair in LABELS.findall(query) for part in pair if part for each in part.split(",")}
        assert asked <= labels | {"job"}, query


def test_the_names_are_found_in_the_queries() -> None:
    """The test above reads something: each panel and rule names a metric."""
    assert len(queries()) >= 25
    assert all(NAME.search(query) for query in queries())


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
)
def test_prometheus_accepts_it(arguments: tuple[str, ...]) -> None:
    """Promtool checks the rules and the configuration, and the alerts fire when they should and not before."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it is in Debian's package `prometheus`")
    done = subprocess.run([promtool, *arguments], cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_promtool_accepts_the_metrics() -> None:
    """Names, types and help texts are as Prometheus wants them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it is in Debian's package `prometheus`")
    ours = "".join(line for line in (await exposed()).splitlines(keepends=True) if "forecourt_" in line)
    done = subprocess.run([promtool, "check", "metrics"], input=ours, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
