"""A page of another site, in a real browser, has a form sent to the service, and the browser adds the user's cookie.

Needs Chromium (`apt-get install chromium`); skipped where there is none. The other site is `localhost`: to a browser it
is another one than 127.0.0.1.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import httpx2
import pytest
from playwright.sync_api import Page, sync_playwright
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from forecourt import CrossOrigin, EndpointPolicy, JobConfig, PolicyMiddleware
from tests.e2e.served import served
from tests.servers import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FORM = """<!doctype html><form method="post" action="{bank}/transfer"><input name="to" value="mallory">
<button>Win a prize</button></form>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


class Bank:
    """A service that believes a cookie; `cookies` are those that came with transfers it carried out."""

    def __init__(self, policy: CrossOrigin | Literal["off"]) -> None:
        self.cookies: list[str | None] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.abroad = f"http://localhost:{self.port}"
        routes = [
            Route("/login", self._login, name="login"),
            Route("/form", self._form, name="form"),
            Route("/transfer", self._transfer, methods=["POST"], name="transfer"),
        ]
        config = JobConfig(default=EndpointPolicy(cross_origin=policy, rate_limit="off"))
        self.app = Starlette(routes=routes, middleware=[Middleware(PolicyMiddleware, config=config)])

    async def _login(self, _: Request) -> Response:
        answer = PlainTextResponse("hello")
        answer.set_cookie("session", "ali", samesite=None)  # as many services do; browsers send it with such a form
        return answer

    async def _form(self, _: Request) -> Response:
        return HTMLResponse(FORM.format(bank=self.url))

    async def _transfer(self, request: Request) -> Response:
        self.cookies.append(request.cookies.get("session"))
        return PlainTextResponse("done")


@contextmanager
def visited(policy: CrossOrigin | Literal["off"]) -> Iterator[tuple[Bank, Page]]:
    """Serve the bank, and have a user log in at it."""
    bank = Bank(policy)
    with served(bank.app, bank.port), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        page.goto(f"{bank.url}/login")
        yield bank, page
        browser.close()


def sent(page: Page, form: str) -> int:
    """Open a page with the form, press its button, and return the status of what came back."""
    page.goto(form)
    with page.expect_navigation() as navigated:
        page.get_by_role("button").click()
    answer = navigated.value
    assert answer is not None
    return answer.status


def test_a_form_of_another_site_does_nothing() -> None:
    """It is refused before the handler, while the service's own form and clients that are no browsers pass."""
    with visited(CrossOrigin()) as (bank, page):
        assert sent(page, f"{bank.abroad}/form") == 403
        assert bank.cookies == []
        assert sent(page, f"{bank.url}/form") == 200
        assert httpx2.post(f"{bank.url}/transfer").status_code == 200
        assert bank.cookies == ["ali", None]


def test_without_the_policy_it_would() -> None:
    """The browser sends the user's cookie along, and the money is gone."""
    with visited("off") as (bank, page):
        assert sent(page, f"{bank.abroad}/form") == 200
        assert bank.cookies == ["ali"]
