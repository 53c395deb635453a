"""Metrics of jobs: how queues stand at a scrape, and how jobs ended."""

import pytest

from forecourt import Offload
from forecourt.errors import StoreDown
from forecourt.inspection import stack_of
from forecourt.jobs.counting import JobMetrics
from forecourt.jobs.queue import Record
from tests.callers import settle_down
from tests.jobs.services import Reports


async def scraped(service: Reports) -> dict[str, float]:
    """Return the samples of jobs."""
    answer = await service.ask("GET", "/metrics/")
    lines = [line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if line.startswith("forecourt_job")]
    return {name: float(value) for name, value in lines}


def counted(offload: Offload) -> Reports:
    """Build a service that is scraped."""
    service = Reports(offload)
    service.api.mount("/metrics", service.config.metrics, name="metrics")
    return service


async def test_a_scrape_says_how_queues_stand() -> None:
    """How many jobs, by state, and for how long the oldest has waited."""
    service = counted(Offload())
    service.go_on.clear()
    await service.post()
    await settle_down()
    samples = await scraped(service)
    assert samples['forecourt_jobs{queue="default",state="running"}'] == 1
    assert samples['forecourt_jobs_oldest_seconds{queue="default"}'] == 0
    service.go_on.set()
    await settle_down()
    assert (await scraped(service))['forecourt_jobs{queue="default",state="running"}'] == 0


async def test_ends_are_counted_with_their_attempts() -> None:
    """By endpoint and how it ended; the time is that from publication."""
    service = counted(Offload(max_attempts=2))
    service.fails = 2
    await service.post()
    await settle_down()
    await service.advance(1)
    samples = await scraped(service)
    assert samples['forecourt_job_attempts_total{endpoint="make_report"}'] == 2
    assert samples['forecourt_job_duration_seconds_count{endpoint="make_report",outcome="dead"}'] == 1
    assert samples['forecourt_job_duration_seconds_sum{endpoint="make_report",outcome="dead"}'] == 0.5


async def test_a_queue_that_does_not_answer_keeps_its_figures(caplog: pytest.LogCaptureFixture) -> None:
    """The scrape is answered all the same, and a line says why."""
    service = counted(Offload(delay=60))
    await service.post()
    assert (await scraped(service))['forecourt_jobs{queue="default",state="delayed"}'] == 1

    async def down() -> dict[str, int]:
        raise StoreDown("gone")

    stack_of(service.api, "offload").jobs.queues.queue("default").depth = down  # type: ignore[method-assign]
    assert (await scraped(service))['forecourt_jobs{queue="default",state="delayed"}'] == 1
    assert "did not say how it stands" in caplog.text


async def test_without_metrics_nothing_is_counted() -> None:
    """Nobody is asked where nobody counts."""
    service = Reports()
    await service.post()
    await settle_down()
    jobs = stack_of(service.api, "offload").jobs
    metrics = JobMetrics(service.config, jobs.queues)
    metrics._endpoint.families = None
    await metrics.ask()
    metrics.ended(Record("default.a", "ali", "work", "", "succeeded", 1, 0, 1))
