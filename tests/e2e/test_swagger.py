"""The records example in a real browser: Swagger UI knows how to authorize, though the handlers are plain.

Needs Chromium (`apt-get install chromium`); skipped where there is none. FastAPI's page takes Swagger UI from a CDN:
its files come from the package `fastapi-offline` here, so that nothing leaves this machine.
"""

import shutil
from collections.abc import Iterator
from importlib.resources import files

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

from tests.e2e.service import records, token

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 30
"""That a busy machine may take for one step of the browser."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser that reaches this machine only; other addresses are answered from a package, or not."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        opened = browser.new_page()
        opened.set_default_timeout(SECONDS * 1000)
        opened.route(lambda url: not url.startswith("http://127.0.0.1:"), _from_package)
        yield opened
        browser.close()


def _from_package(route: Route) -> None:
    """Answer for the CDN."""
    file = files("fastapi_offline") / "static" / route.request.url.rpartition("/")[2]
    if not file.is_file():
        return route.abort()
    kind = "text/css" if file.name.endswith(".css") else "text/javascript"
    route.fulfill(body=file.read_bytes(), content_type=kind)


def test_authorize_in_swagger(page: Page) -> None:
    """Without a token an operation is answered 401; after Authorize 200, with the record; after Logout 401 again."""
    with records() as client:
        page.goto(str(client.base_url).rstrip("/") + "/docs")
        operation = page.locator(".opblock", has_text="/records/{record_id}").first
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        operation.locator("input[placeholder=record_id]").fill("1")
        status = operation.locator(".live-responses-table .response .response-col_status").first
        execute = operation.get_by_role("button", name="Execute")

        execute.click()
        expect(status).to_contain_text("401", timeout=SECONDS * 1000)

        _authorize(page, token("read:records"))
        execute.click()
        expect(status).to_contain_text("200", timeout=SECONDS * 1000)
        expect(operation.locator(".live-responses-table .response .response-col_description").first).to_contain_text(
            '"id"'
        )

        page.locator(".scheme-container .authorize").click()
        page.locator(".modal-ux button", has_text="Logout").click()
        page.locator(".modal-ux .btn-done").click()
        execute.click()
        expect(status).to_contain_text("401", timeout=SECONDS * 1000)


def _authorize(page: Page, text: str) -> None:
    """Paste a token, as the start page of the example says."""
    page.locator(".scheme-container .authorize").click()
    page.locator(".modal-ux input").first.fill(text)
    page.locator(".modal-ux .modal-btn.authorize").first.click()
    page.locator(".modal-ux .btn-done").click()
