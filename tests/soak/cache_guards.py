"""Each guard that keeps callers' answers apart is taken away in turn, and the generated requests see the leak.

    python -m tests.soak.cache_guards [NAME...]

A guard is a line of the cache. In a copy of the sources that line is changed, and the requests of
`tests/soak/cache_marks.py` are made of the copy until one of them finds what is somebody else's. What is guarded twice
is changed in both places: each alone would still hold.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.soak.results import Result

ROOT = Path(__file__).parents[2]
REQUESTS = 12_000


class Change(NamedTuple):
    """One line of one file, and what it becomes."""

    file: str
    line: str
    becomes: str


class Guard(NamedTuple):
    """A guard; `stacks`: of how many processes on one store the requests are made, 1: of one without.

    `kinds`: what they ask for, where it takes a moment that seldom comes.
    """

    name: str
    changes: tuple[Change, ...]
    stacks: int = 1
    kinds: tuple[str, ...] = ()


def _guard(name: str, file: str, line: str, becomes: str, stacks: int = 1) -> Guard:
    return Guard(name, (Change(file, line, becomes),), stacks)


VISITS, RECORDING = "layers/cache_visits.py", "layers/cache_recording.py"
ANSWERING, SPOTS = "layers/cache_answering.py", "caching/spots.py"
STORABLE = "core/caching/storable.py"

GUARDS = (
    # For whom: the key.
    _guard("path in the key", VISITS, 'scope.get("root_path", ""), raw)', 'scope.get("root_path", ""), b"")'),
    _guard(
        "query in the key", VISITS, '(self._name, place, scope["query_string"], whose)', "(self._name, place, whose)"
    ),
    _guard("host in the key", VISITS, 'fields.get(b"host", b"").lower(), scope.get', 'b"", scope.get'),
    _guard("principal in the key", VISITS, "principal.issuer, principal.subject, held)", "held)"),
    _guard("issuer in the key", VISITS, "principal.issuer, principal.subject, held)", "principal.subject, held)"),
    _guard("scopes and roles in the key", VISITS, "principal.subject, held)", "principal.subject)"),
    _guard("tenant in the key", VISITS, '("tenant", principal.tenant)', '("tenant",)'),
    _guard("scopes where they are shared by", VISITS, '("scopes", held)', '("scopes",)'),
    _guard("principals pass what is for anonymous callers", VISITS, "return _OF_NOBODY", "return _ANONYMOUS"),
    _guard("principals are not anonymous", VISITS, "if principal is None and self._open:", "if self._open:"),
    _guard(
        "requests with Cookie pass",
        VISITS,
        '(b"cookie" in fields or b"authorization" in fields)',
        '(b"authorization" in fields)',
    ),
    _guard(
        "requests with Authorization pass",
        VISITS,
        '(b"cookie" in fields or b"authorization" in fields)',
        '(b"cookie" in fields)',
    ),
    _guard(
        "everybody's own flight", SPOTS, "return self.parts, self.selection", "return self.parts[:3], self.selection"
    ),
    _guard(
        "principal in the store's key",
        "caching/caching.py",
        ":{{{digest(spot.parts)}}}:cache",
        ":{{{digest(spot.parts[:3])}}}:cache",
        3,
    ),
    _guard(
        "principal of a refresh in the background",
        ANSWERING,
        "exchange.endpoint, exchange.params, exchange.principal",
        "exchange.endpoint, exchange.params, None",
    ),
    # For whom: what the answer varies on.
    _guard("Vary of an answer", RECORDING, "rules.visits.learn(varies(headers))", "rules.visits.learn(())"),
    _guard("vary of the policy", VISITS, "for name in policy.vary)", "for name in ())"),
    _guard(
        "variants in the process",
        "caching/tier.py",
        "kept = resource.entries.get(selection)",
        "kept = next(iter(resource.entries.values()), None)",
    ),
    _guard("variants in the store", SPOTS, "self._variant = digest(self.selection)", "self._variant = digest(())", 3),
    _guard(
        "names of what is varied on in the store",
        "core/cache.py",
        "if resource.names != names and resource.entries:",
        "if False:",
        3,
    ),
    Guard(
        "names of what is varied on in the process",
        (
            Change(
                ANSWERING, "tier.get(spot.parts, spot.selection, spot.names)", "tier.get(spot.parts, spot.selection)"
            ),
        ),
        kinds=("shifting",),
    ),
    _guard("followers of a flight look whether it is theirs", ANSWERING, "if selection == outcome.selection and", "if"),
    # What is not kept.
    _guard("private", STORABLE, 'if "private" in said and said["private"] is None:', "if False:"),
    _guard("no-store of an answer", STORABLE, 'elif "no-store" in said:', "elif False:"),
    _guard("no-store of a request", RECORDING, "if not visit.demand.stored:", "if False:"),
    Guard(
        "no-cache",
        (
            Change(STORABLE, 'if "no-cache" in said and said["no-cache"] is None:', "if False:"),
            Change("core/caching/freshness.py", 'if "no-cache" in said and said["no-cache"] is None:', "if False:"),
        ),
    ),
    _guard("Vary: *", STORABLE, 'if "*" in ",".join(values(headers, b"vary")):', "if False:"),
    _guard("Set-Cookie", STORABLE, 'if cookie and not _names(said, b"set-cookie"):', "if False:"),
    Guard(
        "Set-Cookie among what is kept",
        (
            Change(STORABLE, 'b"age", b"set-cookie", b"set-cookie2",', 'b"age",'),
            Change(STORABLE, "connection | unkept_fields(said)", "connection"),
        ),
    ),
    _guard("fields that private names", STORABLE, "connection | unkept_fields(said)", "connection"),
    _guard(
        "fields of the connection", STORABLE, "dropped = STRIPPED | connection", "dropped = (STRIPPED - HOP_BY_HOP)"
    ),
    _guard("fields that Connection names", STORABLE, "dropped = STRIPPED | connection", "dropped = STRIPPED"),
    _guard("fields of one caller's standing", STORABLE, 'b"ratelimit", b"ratelimit-policy",', ""),
    Guard(
        "answers to Authorization (RFC 9111 §3.5)",
        (
            Change(STORABLE, "if authorized and not apart and", "if False and"),
            Change(RECORDING, 'if b"authorization" in visit.fields and self._for_all():', "if False:"),
        ),
    ),
    _guard("partial answers", STORABLE, "_UNKEPT = frozenset({206, 304})", "_UNKEPT = frozenset({304})"),
    _guard("answers that end early", RECORDING, 'stated is not None and stated != b"%d" % len(body)', "False"),
    Guard(
        "event streams",
        (
            Change(STORABLE, 'if any(b"text/event-stream" in value', 'if any(b"text/never" in value'),
            Change(RECORDING, 'value.startswith(b"text/event-stream")', "False"),
        ),
    ),
    _guard(
        "encodings that Vary does not name",
        STORABLE,
        'if encoded and b"accept-encoding" not in varies(headers):',
        "if False:",
    ),
    _guard("errors", STORABLE, "if status >= 500:", "if False:"),
    _guard("challenges", STORABLE, 'if any(name == b"www-authenticate" for name, _ in headers):', "if False:"),
    # What leaves.
    _guard(
        "private on what leaves to those who are known", "layers/cache.py", "exchange.headers.append(PRIVATE)", "pass"
    ),
)


def seen(guard: Guard, package: Path, requests: int = REQUESTS) -> bool:
    """Return whether the requests see that a guard is missing, in a copy of the package."""
    before = {change.file: (package / change.file).read_text() for change in guard.changes}
    for change in guard.changes:
        path = package / change.file
        path.write_text(path.read_text().replace(change.line, change.becomes))
    try:
        command = [sys.executable, "-m", "tests.soak.cache_marks", "--first", "--seed", "1"]
        command += ["--stacks", str(guard.stacks), "--requests", str(requests)]
        command += [f"--kind={kind}" for kind in guard.kinds]
        paths = {**os.environ, "PYTHONPATH": f"{package.parent}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        ended = subprocess.run(command, env=paths, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode and "leak" not in ended.stdout:
            raise RuntimeError(f"{guard.name}: {ended.stderr[-2000:]}")
        return ended.returncode != 0
    finally:
        for file, text in before.items():
            (package / file).write_text(text)


def copied(directory: Path) -> Path:
    """Return a copy of the package's sources there."""
    return Path(shutil.copytree(ROOT / "src" / "forecourt", directory / "forecourt"))


def cache_guards(names: tuple[str, ...] = ()) -> Iterator[Result]:
    """Every guard of the cache is taken away in turn: generated requests see each that is missing, and none else."""
    with tempfile.TemporaryDirectory() as directory:
        package = copied(Path(directory))
        chosen = [guard for guard in GUARDS if not names or guard.name in names]
        for stacks in (1, 3):
            whole = seen(Guard("none", (), stacks), package)
            yield Result("nothing is missing", f"{REQUESTS:,} requests", "a leak" if whole else "no leak", not whole)
        for guard in chosen:
            found = seen(guard, package)
            size = f"at most {REQUESTS:,} requests"
            yield Result(f"missing: {guard.name}", size, "seen" if found else "NOT seen", found)


if __name__ == "__main__":
    for each in cache_guards(tuple(sys.argv[1:])):
        print("ok " if each.good else "BAD", each.what, each.outcome, flush=True)  # a command prints
