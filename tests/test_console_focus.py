"""The keyboard's place in the console: what goes away hands it on, so that none begins anew."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Locator, expect

from testbed.fake_engine import Script
from testbed.http import put_persona
from tests.conftest import Gateway, Show
from tests.console_page import ConsolePage

pytestmark = pytest.mark.program
SLOW = "Well.\n\n<answer>" + "word " * 40


def button(console: ConsolePage, name: str) -> Locator:
    return console.page.get_by_role("button", name=name, exact=True)


def press(at: Locator) -> None:
    """By keyboard; a disabled button is waited for."""
    expect(at).to_be_enabled()
    at.focus()
    at.press("Enter")


def test_ask_and_stop_hand_it_to_each_other(console: ConsolePage, script: Script) -> None:
    """When an answer begins, at its end, and where it is stopped."""
    script.answer, script.delay_s = SLOW, 0.02
    console.page.get_by_label("Question", exact=True).fill("What now?")
    press(button(console, "Ask"))
    expect(button(console, "Stop")).to_be_focused()
    expect(button(console, "Ask")).to_be_focused()
    button(console, "Ask").press("Enter")
    expect(console.text()).to_contain_text("word")
    button(console, "Stop").press("Enter")
    expect(button(console, "Ask")).to_be_focused()
    expect(console.note()).to_have_text("Stopped.")


def test_it_is_taken_from_nobody(console: ConsolePage, script: Script) -> None:
    """Who writes the next question goes on writing it."""
    console.asked()
    expect(console.page.get_by_label("Question", exact=True)).to_be_focused()


def test_trying_again_keeps_it_in_the_card(console: ConsolePage, script: Script) -> None:
    script.status = 503
    console.asked()
    script.status = 200
    press(console.card("Auto").get_by_role("button", name=re.compile("Try again")))
    expect(console.text()).to_have_text("Cook a stew.")
    expect(button(console, "Code of the Auto request")).to_be_focused()


def test_a_threshold_that_is_reset_keeps_it_on_the_dial(console: ConsolePage) -> None:
    console.threshold.press("End")
    press(button(console, "Reset"))
    expect(console.threshold).to_be_focused()
    expect(console.threshold).to_have_attribute("aria-valuenow", "0.5")


def test_a_persona_that_is_deleted_leaves_it_to_nobody(show: Show, gateway: Gateway) -> None:
    put_persona(gateway.url, "ada", "Ada is vegan.")
    console = show(gateway.url)
    console.choose("ada")
    press(button(console, "Delete"))
    dialog = console.page.get_by_role("dialog")
    press(dialog.get_by_role("button", name="Delete"))
    expect(dialog).to_be_hidden()
    expect(console.page.get_by_role("radio", name="Nobody")).to_be_focused()


def test_the_example_and_the_next_page_have_it(show: Show, gateway: Gateway) -> None:
    console = show(gateway.url)
    press(button(console, "Add Ada, an example"))
    expect(console.page.get_by_role("radio", name="ada")).to_be_focused()
    for number in range(60):
        put_persona(gateway.url, f"user-{number:02}", "x")
    console.page.reload()
    press(button(console, "Show more"))
    expect(console.page.get_by_role("radio", name="user-49")).to_be_focused()


def test_an_import_and_an_export_give_it_back(console: ConsolePage, gateway: Gateway) -> None:
    file = {"name": "p.jsonl", "mimeType": "application/x-ndjson"}
    line = json.dumps({"id": "ada", "text": "x"}).encode()
    console.page.get_by_role("button", name="Import").focus()
    console.page.get_by_label("JSONL file of personas").set_input_files({**file, "buffer": line})
    expect(console.page.locator("#transfer")).to_contain_text("1 imported.")
    expect(button(console, "Import")).to_be_focused()
    with console.page.expect_download():
        press(button(console, "Export"))
    expect(console.page.locator("#transfer")).to_contain_text("1 exported.")
    expect(button(console, "Export")).to_be_focused()
