"""Time that is spent on a database is measured and traced: by endpoint and operation, without a value."""

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from forecourt import EndpointPolicy, JobConfig
from forecourt.db import record_db_latency
from tests.db.service import running
from tests.observing import samples, scraped, sdk


def config(database: str) -> JobConfig:
    """Return a config that measures and traces."""
    return JobConfig(default=EndpointPolicy(logging="off"), databases={"main": database})  # type: ignore[dict-item]  # an address will do


async def test_statements_are_measured_by_endpoint_and_operation(database: str) -> None:
    """A histogram of seconds, of which failures are told apart; blocks stand beside statements."""
    watched = config(database)
    async with running(watched) as calling:
        await calling.post("/records/secretive")
        assert (await calling.post("/records/secretive")).status_code == 409
        await calling.get("/records/1")
        with record_db_latency("load_report"):
            pass
        told = await samples(watched, "forecourt_db_seconds_count", "endpoint", "database", "operation", "outcome")
        text = await scraped(watched)
    mine = {labels: count for labels, count in told.items() if labels[0] != "none" or labels[2] == "load_report"}
    assert mine == {
        ("make", "main", "insert", "ok"): 1,
        ("make", "main", "insert", "failed"): 1,
        ("show", "main", "select", "ok"): 1,
        ("none", "main", "load_report", "ok"): 1,
    }
    assert "secretive" not in text


async def test_statements_are_spans_within_their_call(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the statement's text and placeholders; one that failed says so, and none says a value."""
    with sdk(monkeypatch) as seen:
        async with running(config(database)) as calling:
            for _ in range(2):
                await calling.post("/records/secretive")
    spans = [span for span in seen.all() if (span.attributes or {}).get("db.operation.name") == "insert"]
    servers = {span.context.span_id for span in seen.servers()}
    assert [span.kind for span in spans] == [SpanKind.CLIENT] * 2
    assert [span.name for span in spans] == ["insert main"] * 2
    assert [span.status.status_code for span in spans] == [StatusCode.UNSET, StatusCode.ERROR]
    traces = {span.context.trace_id for span in seen.servers()}
    assert {span.context.trace_id for span in spans} == traces
    assert len(servers) == 2
    for span in spans:
        assert str((span.attributes or {})["db.query.text"]).startswith("INSERT INTO records (title) VALUES (")
        assert (span.attributes or {})["db.namespace"] == "main"
    statements = "\n".join(span.to_json() for span in spans)
    assert "secretive" not in statements
