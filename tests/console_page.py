"""The console as a test sees it: a page in a real browser, with what it logs and asks for."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from testbed.fake_engine import Script

LIMIT_MS = 8_000
COLUMNS = ("General", "Auto", "Personalised")
"""The titles of the three answers."""
# A refused request is logged by the browser itself; that a test provokes one is no fault.
EXPECTED = re.compile(r"Failed to load resource")


def dials(script: Script) -> list[dict[str, object]]:
    """The gate's arguments of what the engine has been asked, by mode."""
    return sorted(
        (body["vllm_xargs"] for body in script.seen), key=lambda it: it["personadual_mode"]
    )


class ConsolePage:
    """One open console. `close` holds what is so in every test: it logs no error, breaks no
    policy and asks nobody but its gateway."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self.url = url
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.context: BrowserContext = browser.new_context(**context)
        self.context.set_default_timeout(LIMIT_MS)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._note_request(request.url))

    def open(self) -> ConsolePage:
        self.page.goto(self.url)
        return self

    def ask(self, question: str = "What now?") -> None:
        """Ask, and wait for no answer."""
        box = self.page.get_by_label("Question", exact=True)
        box.fill(question)
        box.press("Enter")

    def asked(self, question: str = "What now?") -> None:
        """Ask, and wait until all has come."""
        self.ask(question)
        self.settle()

    def settle(self) -> None:
        expect(self.page.locator(".answer[aria-busy=true]")).to_have_count(0)
        expect(self.page.get_by_role("button", name="Ask", exact=True)).to_be_visible()

    def card(self, title: str) -> Locator:
        return self.page.get_by_role("article", name=title, exact=True)

    def text(self, title: str = "Auto") -> Locator:
        return self.card(title).locator(".text")

    def note(self, title: str = "Auto") -> Locator:
        return self.card(title).get_by_role("status")

    @property
    def threshold(self) -> Locator:
        return self.page.get_by_role("slider", name="Threshold")

    def choose(self, persona_id: str) -> None:
        self.page.get_by_role("radio", name=persona_id, exact=True).check()

    def call(self, module: str, code: str) -> Any:
        """The value of an expression over one of the page's own modules, `m`."""
        return self.page.evaluate(
            f"async () => {{ const m = await import('{module}'); return {code}; }}"
        )

    def close(self) -> None:
        self.context.close()
        assert self.errors == []
        assert self.strangers == []

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning") and not EXPECTED.search(message.text):
            self.errors.append(message.text)

    def _note_request(self, url: str) -> None:
        if not url.startswith((f"{self.url}/", "blob:")):
            self.strangers.append(url)
