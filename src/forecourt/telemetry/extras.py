"""Which observers can be had: each needs a package that is an extra."""

from functools import cache
from importlib.util import find_spec

NEEDS = {
    "tracing": ("opentelemetry.instrumentation.asgi", "otel"),
    "metrics": ("prometheus_client", "metrics"),
    "logging": ("structlog", "logs"),
}
"""Field of an endpoint policy → the module it needs, and the extra that brings it."""


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
