"""The console in a real browser, on a real port: by keyboard, at 360 px, light and dark, an action of each kind.

Needs Chromium (`apt-get install chromium`); skipped where there is none. FORECOURT_SCREENSHOTS=docs/console writes the
pictures that the docs show.
"""

import json
import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.e2e.console_app import Running, running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 30_000
PICTURES = os.environ.get("FORECOURT_SCREENSHOTS")
WIDE, NARROW = ViewportSize(width=1120, height=820), ViewportSize(width=360, height=800)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A service in trouble, whose file says otherwise than what runs."""
    monkeypatch.setenv("CONSOLE_KEY", "planted-key-of-thirty-two-bytes!!")
    with running(tmp_path) as started:
        started.call()
        started.change_file()
        yield started


class Visit:
    """A page of the console, and all that went wrong or abroad in it."""

    def __init__(
        self, browser: Browser, service: Running, scheme: Literal["light", "dark"] = "light", size: ViewportSize = WIDE
    ) -> None:
        self.wrong: list[str] = []
        self.asked: set[str] = set()
        context = browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce")
        self.page: Page = context.new_page()
        self.page.set_default_timeout(SECONDS)
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda asked: self.asked.add(asked.url))
        self.page.goto(f"{service.url}/console/")
        expect(self.page.get_by_label("Token of an operator")).to_be_focused(timeout=SECONDS)

    def sign_in(self, role: str = "operator") -> Page:
        """Paste a token and press Enter."""
        self.page.get_by_label("Token of an operator").fill(role)
        self.page.keyboard.press("Enter")
        if role == "operator":
            expect(self.page.locator("#endpoints tbody tr").first).to_be_visible(timeout=SECONDS)
        return self.page

    def end(self) -> None:
        """Leave; nothing may have gone wrong, and nothing been asked of another host."""
        cookies = self.page.context.cookies()
        stored = self.page.evaluate("[localStorage.length, sessionStorage.length]")
        self.page.context.close()
        assert self.wrong == []
        assert {url.split("/console/")[0] for url in self.asked} == {self.asked.pop().split("/console/")[0]}
        assert (cookies, stored) == ([], [0, 0])


def picture(page: Page, name: str, part: str = "") -> None:
    """Write a picture of the page, or of a part of it, for the docs, where they are asked for."""
    if PICTURES:
        page.mouse.move(0, 0)
        path = str(Path(PICTURES) / f"{name}.png")
        page.locator(part).screenshot(path=path) if part else page.screenshot(path=path)


def violations(page: Page) -> list[str]:
    """Return what axe-core finds that is serious or worse."""
    axe = files("axe_playwright_python") / "axe.min.js"
    page.evaluate(axe.read_text("utf-8") + ";0")
    found = page.evaluate("axe.run()")
    return [
        f"{each['id']}: {each['help']} ({json.dumps([node['target'] for node in each['nodes']][:4])})"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def test_the_failing_endpoint_is_found(browser: Browser, service: Running) -> None:
    """It is named in the first sentence, stands first in the table, and says what protects it and why it fails."""
    visit = Visit(browser, service)
    page = visit.sign_in()
    expect(page.locator("#verdict")).to_contain_text("create_order: 4 of 12 calls failed")
    expect(page.locator("#endpoints tbody tr").first).to_contain_text("create_order")
    page.get_by_role("button", name="quote").click()
    expect(page.locator("tr.detail")).to_contain_text("circuit breaker open")
    expect(page.locator("tr.detail")).to_contain_text("CircuitBreaker(fail_max=3, name='exchange')")
    expect(page.locator("#policies")).to_contain_text("admin:*")
    expect(page.locator("#config .stands")).to_contain_text("says otherwise")
    expect(page.locator("#config tbody")).to_contain_text("looser: listing: limit raised from 3 to 30")
    visit.end()


def test_by_keyboard_alone(browser: Browser, service: Running) -> None:
    """Signing in, filtering, opening an endpoint, closing a breaker, leaving a dialog, signing out."""
    visit = Visit(browser, service)
    page = visit.sign_in()
    page.keyboard.press("/")
    page.keyboard.type("orders/")
    expect(page.locator("#endpoints tbody tr")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="get_order")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="get_order")).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("#breakers tbody tr", has_text="exchange").get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Close exchange?")
    expect(page.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#breakers tbody tr", has_text="exchange")).to_contain_text("open")
    expect(page.locator("#breakers tbody tr", has_text="exchange").get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("exchange is closed")
    page.get_by_role("button", name="Sign out").press("Enter")
    expect(page.get_by_label("Token of an operator")).to_be_focused()
    visit.end()


def _sure(page: Page, words: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=words).click()


def test_an_action_of_each_kind(browser: Browser, service: Running) -> None:
    """Each is asked for where it is not harmless, done by the service, and said."""
    visit = Visit(browser, service)
    page, said = visit.sign_in(), visit.page.locator("#said")
    payments = page.locator("#breakers tbody tr", has_text="payments")
    payments.get_by_role("button", name="Open").click()
    page.get_by_role("dialog").get_by_label("For seconds").fill("60")
    _sure(page, "Open")
    expect(said).to_contain_text("payments is open for 60 s")
    expect(payments).to_contain_text("open")
    assert service.config.breaker("payments").state == "open"
    payments.get_by_role("button", name="Close").click()
    _sure(page, "Close")
    expect(said).to_contain_text("payments is closed")

    page.locator("#limited").get_by_role("button", name="Reset").click()
    _sure(page, "Reset")
    expect(said).to_contain_text("begins anew with listing of list_orders")

    form = page.locator("#credits")
    form.get_by_label("Issuer").fill("https://issuer.example")
    form.get_by_label("Subject").fill("alice")
    form.get_by_role("button", name="Look at balance").click()
    expect(said).to_contain_text("has 10000 credits")
    form.get_by_label("Amount").fill("many")
    form.get_by_role("button", name="Grant").click()
    expect(said).to_contain_text("Amount must be a whole number")
    form.get_by_label("Amount").fill("250")
    for _ in range(2):
        form.get_by_role("button", name="Grant").click()
        _sure(page, "Grant")
        expect(said).to_contain_text("has 250 credits")

    jobs = page.locator("#jobs tbody tr")
    jobs.get_by_role("button", name="Retry").click()
    expect(said).to_contain_text("has all its attempts again")
    visit.end()


def test_a_waiting_job_is_cancelled(browser: Browser, service: Running) -> None:
    """While its handler is at work."""
    service.orders.hangs.clear()
    service.report()
    visit = Visit(browser, service)
    page = visit.sign_in()
    page.locator("#jobs tbody tr", has_text="running").get_by_role("button", name="Cancel").click()
    _sure(page, "Cancel the job")
    expect(page.locator("#said")).to_contain_text("is cancelled")
    service.orders.hangs.set()
    visit.end()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_axe(browser: Browser, service: Running, scheme: Literal["light", "dark"]) -> None:
    """When signing in, on the page with a part unfolded, and in a dialog; in both schemes."""
    pytest.importorskip("axe_playwright_python", reason="needs axe-core: pip install axe-playwright-python")
    visit = Visit(browser, service, scheme)
    assert violations(visit.page) == []
    page = visit.sign_in()
    picture(page, scheme)
    page.get_by_role("button", name="create_order").click()
    assert violations(page) == []
    if scheme == "light":
        page.set_viewport_size({"width": 1120, "height": 3000})
        picture(page, "sections", ".columns")
        page.set_viewport_size(WIDE)
    page.locator("#breakers").get_by_role("button", name="Open").first.click()
    assert violations(page) == []
    visit.page.keyboard.press("Escape")
    visit.end()


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_cut_off_on_a_small_screen(browser: Browser, service: Running, width: int) -> None:
    """The page does not scroll sideways, with an endpoint unfolded too; what must be seen is."""
    visit = Visit(browser, service, size=ViewportSize(width=width, height=800))
    page = visit.sign_in()
    if width == 360:
        picture(page, "narrow")
    page.get_by_role("button", name="create_order").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    cut = page.evaluate(
        "[...document.querySelectorAll('button, input, th, td, dd, h1')].filter(e => e.offsetParent &&"
        " !e.closest('.scroll, .unseen') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"
    )
    assert cut == []
    visit.end()


def test_a_token_without_the_role_is_told_the_fix(browser: Browser, service: Running) -> None:
    """In the form, where another can be pasted; and one that nobody believes, too."""
    visit = Visit(browser, service)
    page = visit.sign_in("reader")
    expect(page.get_by_role("alert")).to_contain_text("lacks the role")
    page = visit.sign_in("stranger")
    expect(page.get_by_role("alert")).to_contain_text("not accepted")
    expect(page.get_by_label("Token of an operator")).to_have_value("")
    visit.wrong.clear()  # the browser logs 401 and 403 by itself
    visit.end()


def test_a_service_that_is_gone_is_seen(browser: Browser, service: Running) -> None:
    """The figures stay, told to be old; they are live again when it is back."""
    visit = Visit(browser, service)
    page = visit.sign_in()
    page.context.set_offline(True)
    expect(page.locator("#link")).to_contain_text("trying again", timeout=SECONDS)
    expect(page.locator("#endpoints tbody tr").first).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator("#link")).to_contain_text("live", timeout=SECONDS)
    visit.wrong.clear()  # the browser logs what it could not load
    visit.end()
