"""Who sees the console, and what it takes to start one."""

import json
from pathlib import Path

import pytest
from starlette.routing import Mount
from starlette.testclient import TestClient

from forecourt import ConfigError, EndpointPolicy, JobConfig, Security
from forecourt.console import page
from forecourt.console.page import POLICY
from tests.asgi import call, get, http
from tests.console.served import GUARDED, OPERATORS, PUBLIC, ByHeader, Service, Sink
from tests.services import starlette

DATA = (("GET", "api/state"), ("GET", "api/events"), ("POST", "api/actions/breaker.close"))


@pytest.mark.parametrize(("method", "path"), DATA)
async def test_data_and_actions_need_the_role(method: str, path: str) -> None:
    """401 without credentials, 403 without the role, both as problems, with nothing done."""
    service = Service()
    nobody, reader = await service.ask(path, "", method), await service.ask(path, "reader", method)
    assert (nobody.status, reader.status) == (401, 403)
    assert nobody.headers["www-authenticate"]
    assert json.loads(reader.body)["status"] == 403


@pytest.mark.parametrize(("method", "path"), DATA)
async def test_credentials_elsewhere_than_in_the_header_do_not_count(method: str, path: str) -> None:
    """A cookie that a way to authenticate believes is refused: browsers send it for other sites too."""
    answer = await Service().ask(path, "", method, cookie="role=operator")
    assert answer.status == 401
    assert "Authorization" in json.loads(answer.body)["detail"]


async def test_the_page_is_public_and_holds_nothing() -> None:
    """It comes without credentials, sets no cookie, names no other host, has nothing inline."""
    service = Service()
    for file, kind in (("", "text/html"), ("main.js", "text/javascript"), ("console.css", "text/css")):
        answer = await service.ask(file, "")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers
        for word in (b"http://", b"https://", b"<style", b" style=", b'onclick="', b"localStorage", b"innerHTML"):
            assert word not in answer.body, (file, word)
        again = await service.ask(file, "", if_none_match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b"")


async def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    """No inline script or style, no evaluation, no frame around it, no form that leads elsewhere."""
    assert "default-src 'none'" in POLICY
    assert "frame-ancestors 'none'" in POLICY
    assert "form-action 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert "*" not in POLICY


@pytest.mark.parametrize("file", ["nothing.js", "../page.py", "%2e%2e/page.py", "__init__.py"])
async def test_no_other_file_is_served(file: str) -> None:
    """404 for what the page does not load."""
    assert (await Service().ask(file, "")).status == 404


def test_what_lies_beside_the_pages_files_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Editors and systems leave files behind; what is of no kind that a page loads stays where it is."""
    static = tmp_path / "static"
    static.mkdir()
    for name in ("main.js", "main.js~", ".DS_Store", "notes.txt"):
        (static / name).write_text(name)
    monkeypatch.setattr(page, "files", lambda _: tmp_path)
    assert {name: file.body for name, file in page._files.__wrapped__().items()} == {"main.js": b"main.js"}


async def test_answers_are_not_to_be_kept() -> None:
    """Nor do they set cookies."""
    answer = await Service().ask("api/state")
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "security", [None, Security(), Security(anonymous=True), Security(public=True), Security(scopes={"operate"})]
)
async def test_it_does_not_start_without_a_role(security: Security | None) -> None:
    """Each endpoint that shows or does something is named, with what to say."""
    said = {"console:*": EndpointPolicy(security=security), "console:page": PUBLIC}
    with pytest.raises(ConfigError) as refused:
        await get(Service(said).app, "/limited")
    for name in ("console:state", "console:events", "console:act"):
        assert f'endpoints."{name}".security: what the console shows and does needs a role' in str(refused.value)
    assert 'endpoints."console:*".security = { roles = ["operator"] }' in str(refused.value)
    assert "console:page" not in str(refused.value)


async def test_it_does_not_start_where_browsers_could_not_load_the_page() -> None:
    """As they send no token for a page."""
    with pytest.raises(ConfigError, match=r'endpoints\."console:page"\.security: .*public = true'):
        await get(Service({"console:*": OPERATORS}).app, "/limited")


async def test_an_audit_log_needs_a_key() -> None:
    """As what is done in the console is signed there."""
    with pytest.raises(ConfigError, match=r"audit_log: .*keys"):
        await get(Service(GUARDED, audit_log=Sink()).app, "/limited")


async def test_two_globs_of_equal_weight_are_told_once() -> None:
    """By the check that is about them."""
    said = {**GUARDED, "console:sta*": OPERATORS, "console:st*e": OPERATORS}
    with pytest.raises(ConfigError) as refused:
        await get(Service(said).app, "/limited")
    assert "equally specific" in str(refused.value)


async def test_without_a_mount_there_is_none() -> None:
    """Nothing answers, nothing is watched, no role is asked for."""
    config = JobConfig(default=EndpointPolicy())
    app = starlette(config)
    assert (await get(app, "/console/")).status == 404
    for path, method in (("/", "GET"), ("/api/state", "GET"), ("/api/events", "GET"), ("/api/actions/x", "POST")):
        assert (await get(config.console, path, method)).status == 404


async def test_around_the_stack_nothing_is_told() -> None:
    """A second way to the same app, without the stack or under another name, is no way in."""
    service = Service()
    await service.state()
    headers = [(b"authorization", b"Bearer operator")]
    bare = await call(service.config.console, http("/api/state", headers=headers))
    assert bare.status == 403

    async def wrapped(scope: object, receive: object, send: object) -> None:
        await service.config.console(scope, receive, send)  # type: ignore[arg-type]  # as it comes

    other = Service(None, Mount("/aside", wrapped, name="aside"), config=service.config, clock=service.clock)
    await other.state()
    assert (await call(other.app, http("/aside/api/state", headers=headers))).status == 403


async def test_a_stack_of_another_config_lets_nobody_in() -> None:
    """Whoever that one believes: its authenticators are not those that the console's own config names."""
    service = Service()
    await service.state()
    config = JobConfig(default=EndpointPolicy(), endpoints=GUARDED, authenticators={"header": ByHeader()})
    app = starlette(config, Mount("/console", service.config.console, name="console"))
    headers = [(b"authorization", b"Bearer operator")]
    assert (await call(app, http("/console/api/state", headers=headers))).status == 403


async def test_a_stack_that_ends_takes_its_console_along() -> None:
    """After the lifespan nothing answers."""
    service = Service()
    with TestClient(service.app) as client:
        assert client.get("/console/").status_code == 200
    assert (await get(service.config.console, "/")).status == 404
