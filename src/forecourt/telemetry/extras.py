"""Which observers can be had: each needs a package that is an extra, metrics the one that they are counted with."""

from functools import cache
from importlib.util import find_spec

METER = "meter"
"""What counts instead of `metrics`, where the config says `metrics_to = "opentelemetry"`."""

NEEDS = {
    "tracing": ("opentelemetry.instrumentation.asgi", "otel"),
    "metrics": ("prometheus_client", "metrics"),
    METER: ("opentelemetry.metrics", "otel"),
    "logging": ("structlog", "logs"),
}
"""Field of an endpoint policy, or `METER` → the module it needs, and the extra that brings it."""


def counter(field: str, metrics_to: str) -> str:
    """Return what to look up for a field of an endpoint policy: the field, or what counts instead of it."""
    return METER if field == "metrics" and metrics_to == "opentelemetry" else field


@cache
def installed(field: str) -> bool:
    """Tell whether what this field needs is installed."""
    module, _ = NEEDS[field]
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def missing(field: str) -> str:
    """Return the sentence that says how to get what this field needs."""
    module, extra = NEEDS[field]
    return f"needs {module.partition('.')[0]}: pip install 'forecourt[{extra}]'"
