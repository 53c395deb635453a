"""The changing service as servers run it; CHANGING names its policy file, WATCH where it looks for another."""

import os
from pathlib import Path
from typing import Literal

from forecourt.types import SystemClock
from tests.changing import Changing

watch: Literal["file", "store"] = "store" if os.environ["WATCH"] == "store" else "file"
app = Changing(Path(os.environ["CHANGING"]), watch=watch, clock=SystemClock()).app
