"""`forecourt explain`: which endpoint a call is for, what protects it, what would be decided now, and why.

forecourt explain main:app GET /records/1
forecourt explain main:app GET /records/1 --token-stdin < token
FORECOURT_TOKEN=… forecourt explain main:app GET /records/1 --header "X-Org: acme" --json

Nothing is carried out and nothing is consumed. A token comes from standard input or FORECOURT_TOKEN, and a header's
value may be `env:NAME`: what stands on a command line is seen by everyone on the machine.
"""

import argparse
import asyncio
import json
import os
import sys
from urllib.parse import unquote

from forecourt.cli_app import imported
from forecourt.config import ResolvedPolicy
from forecourt.config_spelling import spelt_value
from forecourt.errors import ConfigError
from forecourt.explanation import Explanation, Verdict, explain
from forecourt.inspection import Guarded, guarded
from forecourt.types import ASGIApp, Scope

TOKEN = "FORECOURT_TOKEN"  # noqa: S105 - a variable's name

Header = tuple[bytes, bytes]


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    words = "say what would be decided of a call now, and why; consumes nothing"
    parser = commands.add_parser("explain", help=words, description=words)
    parser.add_argument("app", metavar="module:app", help="as a server is told: package.module:variable")
    parser.add_argument("method", metavar="METHOD", help="GET, POST, …, or WEBSOCKET")
    parser.add_argument("path", metavar="PATH", help="as in the request, with its query: /records/1?full=yes")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="the value may be env:NAME")
    parser.add_argument("--token-stdin", action="store_true", help=f"read a token; else {TOKEN}, where it is set")
    parser.add_argument("--client", default="127.0.0.1", metavar="ADDRESS", help="where the call comes from")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    app = imported(given.app)
    found = guarded(app)
    explanation = asyncio.run(explain(found, _scope(given, app)))
    policy = _policy(found, explanation)
    print(json.dumps(_table(explanation, policy), indent=2) if given.json else "\n".join(_lines(explanation, policy)))
    return 0


def _policy(found: Guarded, explanation: Explanation) -> ResolvedPolicy | None:
    endpoint = explanation.endpoint
    return found.config.policy_for(endpoint.name, endpoint.protocol) if endpoint else None


def _scope(given: argparse.Namespace, app: ASGIApp) -> Scope:
    path, _, query = given.path.partition("?")
    if not path.startswith("/"):
        raise ConfigError(f"{given.path!r} is no path: it begins with a slash, as in /records/1")
    websocket = given.method.upper() == "WEBSOCKET"
    return {
        "type": "websocket" if websocket else "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws" if websocket else "http",
        **({"subprotocols": []} if websocket else {"method": given.method.upper()}),
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [*map(_header, given.header), *_token(from_stdin=given.token_stdin)],
        "client": (given.client, 0),
        "server": ("localhost", 80),
        "app": app,
        "state": {},
    }


def _header(text: str) -> Header:
    name, colon, value = text.partition(":")
    value = value.strip()
    if not colon or not name.strip():
        raise ConfigError("--header: must be NAME:VALUE")
    if value.startswith("env:"):
        variable = value.removeprefix("env:")
        if variable not in os.environ:
            raise ConfigError(f"--header: environment variable {variable} is not set")
        value = os.environ[variable]
    return name.strip().lower().encode("latin-1", "replace"), value.encode("latin-1", "replace")


def _token(*, from_stdin: bool) -> list[Header]:
    token = sys.stdin.readline().strip() if from_stdin else os.environ.get(TOKEN, "")
    return [(b"authorization", b"Bearer " + token.encode("latin-1", "replace"))] if token else []


def _lines(explanation: Explanation, policy: ResolvedPolicy | None) -> list[str]:
    endpoint = explanation.endpoint
    if endpoint is None:
        return ["no route matches: the router itself answers (404, 405, or a redirect)"]
    params = ", ".join(f"{name}={value!r}" for name, value in explanation.params.items())
    lines = [f"endpoint  {endpoint.name}  {endpoint.path}{f'  ({params})' if params else ''}"]
    lines.append(f"caller    {explanation.caller}")
    lines += [f"policy    {field} = {said}  ({source})" for field, said, source in _said(policy)]
    if policy is None:
        lines.append("policy    nothing: named by no one, and there is no default")
    lines += [f"skipped   {why}" for why in (policy.skipped if policy else ())]
    lines += [f"{each.verdict:<11} {each.layer}{f': {each.why}' if each.why else ''}" for each in explanation.verdicts]
    return [*lines, _outcome(explanation, policy)]


def _outcome(explanation: Explanation, policy: ResolvedPolicy | None) -> str:
    if explanation.endpoint is not None and policy is None:
        return "=> would be refused with 500: an endpoint that no one names is not served"
    refusal = explanation.refusal
    if refusal is not None:
        return f"=> would be refused with {refusal.status} by {refusal.layer}"
    unknown = [each.layer for each in explanation.verdicts if each.verdict == "unknown"]
    unless = f", unless {' or '.join(unknown)} has a word" if unknown else ""
    return f"=> would go on to the handler{unless}"


def _said(policy: ResolvedPolicy | None) -> list[tuple[str, str, str]]:
    fields = policy.fields if policy else {}
    return [(name, _spelt(each.value), each.source) for name, each in fields.items() if each.value is not None]


def _spelt(value: object) -> str:
    return ", ".join(map(spelt_value, value)) if isinstance(value, tuple) else spelt_value(value)


def _table(explanation: Explanation, policy: ResolvedPolicy | None) -> dict[str, object]:
    endpoint, refusal = explanation.endpoint, explanation.refusal
    return {
        "endpoint": None if endpoint is None else {"name": endpoint.name, "path": endpoint.path},
        "params": {name: str(value) for name, value in explanation.params.items()},
        "caller": explanation.caller,
        "policies": [{"field": field, "policy": said, "source": source} for field, said, source in _said(policy)],
        "skipped": list(policy.skipped if policy else ()),
        "verdicts": [_of(each) for each in explanation.verdicts],
        "refused": None if refusal is None else {"status": refusal.status, "layer": refusal.layer},
    }


def _of(verdict: Verdict) -> dict[str, object]:
    told = {"layer": verdict.layer, "verdict": verdict.verdict, "why": verdict.why, "status": verdict.status}
    return {name: value for name, value in told.items() if value not in ("", None)}
