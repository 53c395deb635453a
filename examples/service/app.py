"""The service that servers load: its config is the file beside it, its database the one that the environment names."""

import os
from pathlib import Path

from examples.service.service import service
from forecourt import JobConfig

DATABASE = os.environ.get("SERVICE_DATABASE", "sqlite+aiosqlite:///service.sqlite3")

config = JobConfig.from_file(Path(__file__).with_name("policies.toml"), databases={"main": DATABASE})
app = service(config)
