"""The words of `offload`, and what a config with jobs must say."""

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from forecourt import ConfigError, EndpointPolicy, JobConfig, Offload
from forecourt.inspection import inspect
from tests.services import echo, starlette, text


def test_the_defaults_are_those_of_the_docs() -> None:
    """Durations come out in µs."""
    offload = Offload(lease=2, delay=1.5)
    assert (offload.queue, offload.mode, offload.max_attempts) == ("default", "always", 3)
    assert offload.terms() == (2_000_000, 1_500_000, 86_400_000_000, 86_400_000_000)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"queue": "a b"}, "must be 1 to 64 letters"),
        ({"mode": "prefr"}, 'did you mean "prefer"?'),
        ({"lease": 0.5}, "must be at least 1 second"),
        ({"delay": 90_000}, "must be less than expires"),
        ({"headers": ["Authorization"]}, "must not be carried by a job"),
        ({"headers": ["a b"]}, "must be the name of a header field"),
        ({"callback": "ftp://x"}, "must begin with https://"),
    ],
)
def test_what_cannot_work_is_told(fields: dict[str, object], said: str) -> None:
    """Each in a sentence."""
    with pytest.raises(ValidationError) as caught:
        Offload.model_validate(fields)
    assert said in str(caught.value)


def app(config: JobConfig, *, mounted: bool = True) -> Starlette:
    """Build an app with a plain endpoint, a WebSocket, and the endpoints of jobs."""
    routes: list[BaseRoute] = [Route("/", text, name="work"), WebSocketRoute("/echo", echo, name="echo")]
    if mounted:
        routes.append(Mount("/jobs", config.jobs, name="jobs"))
    return starlette(config, *routes)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"store": "redis://x"}, 'the queue "default" is outside of this process, so jobs must be signed'),
        ({"endpoints": {"work": EndpointPolicy(offload=Offload(queue="heavi"))}, "queues": {"heavy": "memory://"}},
         'queues has no such queue; did you mean "heavy"?'),
        ({"queues": {"default": "pulsar://x"}, "store": "redis://x", "keys": [b"k" * 32],
          "endpoints": {"work": EndpointPolicy(offload=Offload(delay=5))}},
         'endpoints."work".offload.delay: 5 is not allowed: the queue "default" is on Pulsar'),
        ({"queues": {"default": "pulsar://x"}, "keys": [b"k" * 32]}, "Pulsar, which keeps neither status nor results"),
        ({"queues": {"default": "sqlite:///jobs.db"}}, "outside of this process, so jobs must be signed"),
        ({"endpoints": {"echo": EndpointPolicy(offload=Offload())}}, "a WebSocket cannot be a job"),
        ({"default": EndpointPolicy(offload=Offload())}, "default.offload: say which endpoints are jobs by name"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_app_stops_its_start(config: dict[str, object], said: str) -> None:
    """Each is a line that says where and what to do."""
    fields = {"default": EndpointPolicy(), "endpoints": {"work": EndpointPolicy(offload=Offload())}, **config}
    problems = inspect(app(JobConfig(**fields))).problems  # type: ignore[arg-type]  # the tests' own words
    assert any(said in problem for problem in problems)


def test_jobs_that_nobody_could_see_stop_the_start() -> None:
    """The endpoints of jobs must be mounted; with them nothing is wrong."""
    config = JobConfig(default=EndpointPolicy(), endpoints={"work": EndpointPolicy(offload=Offload())})
    assert any("mount its endpoints" in problem for problem in inspect(app(config, mounted=False)).problems)
    assert inspect(app(config)).problems == []


@pytest.mark.parametrize(
    ("queues", "said"),
    [
        ({"a b": "memory://"}, "must be 1 to 64 letters"),
        ({"heavy": "redsi://user:secret@x"}, "its scheme is unknown"),
        ("redis://x", "must be a table of addresses by the queue's name"),
        ({"heavy": 3}, "must be an address"),
        ({"heavy": "pulsr://x"}, 'did you mean "pulsar"?'),
        ({"heavy": "pulsar://user:secret@x"}, "its token named by ?token=env:NAME"),
        ({"heavy": "pulsar://x/tenant"}, "/TENANT/NAMESPACE"),
        ({"heavy": "pulsar://x?tokn=secret"}, "its only option is ?token=env:NAME"),
        ({"heavy": "pulsar://x?token=env:NO_SUCH_NAME"}, "environment variable NO_SUCH_NAME is not set"),
        ({"heavy": "pulsar://x?token=hidden"}, "its token must be named"),
        ({"heavy": "sqlite://jobs.db"}, "it must name a file"),
    ],
)
def test_wrong_queues_are_told(queues: object, said: str) -> None:
    """Without the password."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(queues=queues)  # type: ignore[arg-type]  # the mistake under test
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_config_shows_queues_without_passwords() -> None:
    """As it does the store."""
    assert "secret" not in repr(JobConfig(queues={"heavy": "redis://user:secret@x"}))
