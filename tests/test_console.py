"""The console in real Chromium: asking, streaming, and code to copy."""

from __future__ import annotations

import subprocess
import sys

import pytest
from playwright.sync_api import Browser, expect

from testbed.fake_engine import FakeEngine, Script
from testbed.http import put_persona
from tests.conftest import Gateway, Show, Starter, wait_until
from tests.console_page import COLUMNS, ConsolePage, dials

pytestmark = pytest.mark.program
GENERAL, PERSONAL = (-0.1, -5.0), (-5.0, -0.1)
HOSTILE = (
    """<img src=x onerror="document.title='broken'"><script>alert(1)</script>' "$(id)" `id` \\ é"""
)
HIDE = """() => {
  Object.defineProperty(document, "hidden", { get: () => true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_one_question_is_answered_in_all_three_ways(
    show: Show, gateway: Gateway, script: Script
) -> None:
    put_persona(gateway.url, "ada", "Ada is vegan.")
    script.logprobs, script.answer = PERSONAL, "She is vegan.\n\n<answer>Stew</answer>"
    console = show(gateway.url)
    console.choose("ada")
    console.asked()
    for title in COLUMNS:
        expect(console.text(title)).to_have_text("Stew")
        expect(console.card(title)).to_contain_text("ada v1, applied")
    expect(console.card("Auto")).to_contain_text("took personalised")
    expect(console.card("Auto")).to_contain_text("Personalised99.3 %")
    expect(console.card("Auto")).to_contain_text("model, its own threshold")
    expect(console.card("General")).to_contain_text("Decided bythis request")
    expect(console.card("Auto")).to_contain_text("First token")
    assert dials(script) == [{"personadual_mode": m} for m in ("auto", "general", "personalized")]
    assert all("Ada is vegan." in body["messages"][0]["content"] for body in script.seen)


def test_comments_that_keep_a_connection_open_are_no_answer(
    show: Show, start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    """Between the events of a slow answer the gateway sends some."""
    script.delay_s = 0.15
    console = show(start_gateway(fake.url, sse_keep_alive_s=0.03).url)
    console.asked()
    for title in COLUMNS:
        expect(console.text(title)).to_have_text("Cook a stew.")


def test_reasoning_is_folded_away_until_it_is_wanted(console: ConsolePage, script: Script) -> None:
    script.answer = "Because of this.\n\n<answer>Stew</answer>"
    console.asked()
    reasoning = console.card("Auto").get_by_text("Because of this.")
    expect(reasoning).to_be_hidden()
    console.card("Auto").get_by_text("Reasoning").click()
    expect(reasoning).to_be_visible()


def test_answers_are_seen_while_they_stream_and_can_be_stopped(
    console: ConsolePage, script: Script, fake: FakeEngine
) -> None:
    script.answer, script.delay_s = f"Well.\n\n<answer>{'word ' * 400}", 0.02
    console.ask()
    expect(console.text()).to_contain_text("word word word")
    expect(console.card("Auto")).to_have_attribute("aria-busy", "true")
    assert fake.running == 3
    console.page.get_by_role("button", name="Stop", exact=True).click()
    for title in COLUMNS:
        expect(console.note(title)).to_have_text("Stopped.")
    wait_until(lambda: fake.running == 0)
    console.ask()
    expect(console.text()).to_contain_text("word")
    console.page.keyboard.press("Escape")
    expect(console.note()).to_have_text("Stopped.")


def test_escape_stops_nothing_where_it_means_something_else(
    console: ConsolePage, script: Script
) -> None:
    """It closes a dialog, empties the search and ends a composition: the answers go on."""

    def expect_more() -> None:
        expect(console.text()).not_to_have_text(console.text().inner_text())

    script.answer, script.delay_s = f"Well.\n\n<answer>{'word ' * 400}", 0.05
    console.ask()
    expect(console.text()).to_contain_text("word")
    console.page.get_by_role("button", name="Code of the Auto request").click()
    console.page.keyboard.press("Escape")
    expect(console.page.get_by_role("dialog")).to_be_hidden()
    expect_more()
    console.page.get_by_label("Find a persona").press("Escape")
    expect_more()
    for composing in ({"isComposing": True}, {"keyCode": 229}):
        box = console.page.get_by_label("Question", exact=True)
        box.dispatch_event("keydown", {"key": "Escape", **composing})
        expect_more()
    console.page.get_by_label("Question", exact=True).press("Escape")
    expect(console.note()).to_have_text("Stopped.")


def test_enter_that_ends_a_composition_asks_nothing(console: ConsolePage, script: Script) -> None:
    """Safari sends it behind the composition's end, by the code that stands for a composition."""
    box = console.page.get_by_label("Question", exact=True)
    box.fill("什么")
    for composing in ({"isComposing": True}, {"keyCode": 229}):
        box.dispatch_event("keydown", {"key": "Enter", "cancelable": True, **composing})
    expect(console.card("Auto")).to_contain_text("The model decides")
    assert script.seen == []
    box.press("Enter")
    expect(console.text()).to_have_text("Cook a stew.")


def test_the_general_card_promises_no_more_than_the_isolation(console: ConsolePage) -> None:
    """In shared isolation, the default, the persona is in the context of general answers, too."""
    expect(console.card("General")).not_to_contain_text("no part")
    expect(console.card("General")).to_contain_text("Only strict isolation keeps the persona out")


def test_an_option_that_is_wrong_is_shown(console: ConsolePage) -> None:
    """The browser's own message stands at it, also where the options were closed."""
    temperature = console.page.get_by_label("Temperature")
    console.page.get_by_text("Options").click()
    temperature.fill("9")
    console.page.get_by_text("Options").click()
    expect(temperature).to_be_hidden()
    console.ask()
    expect(temperature).to_be_visible()
    expect(temperature).to_be_focused()


def test_options_go_into_the_request(show: Show, gateway: Gateway, script: Script) -> None:
    put_persona(gateway.url, "ada", "Ada is vegan.")
    console = show(gateway.url)
    console.choose("ada")
    console.page.get_by_text("Options").click()
    console.page.get_by_label("Isolation").select_option("strict")
    console.page.get_by_label("Temperature").fill("0.7")
    console.page.get_by_label("Longest answer").fill("9")
    console.asked()
    assert {body["temperature"] for body in script.seen} == {0.7}
    assert min(body["max_tokens"] for body in script.seen) < 20
    expect(console.card("General")).to_contain_text("ada v1, withheld")
    expect(console.page.get_by_text("strict · temperature 0.7 · 9 tokens")).to_be_visible()


def test_a_past_question_is_shown_again(console: ConsolePage, script: Script) -> None:
    script.answer = "First"
    console.asked("One?")
    script.answer = "Second"
    console.asked("Two?")
    console.page.get_by_role("button", name="One?").click()
    expect(console.text()).to_have_text("First")
    expect(console.page.get_by_role("button", name="One?")).to_have_attribute(
        "aria-current", "true"
    )


@pytest.mark.parametrize(
    "broken",
    [
        "navigator.clipboard.writeText = () => Promise.reject(new DOMException('x'))",
        "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
        "document.execCommand = () => false",
    ],
    ids=["refused", "plain HTTP"],
)
def test_a_copy_that_fails_is_told(console: ConsolePage, broken: str) -> None:
    """The dialog stays with the text and a word on what to do; the next time it is gone."""
    console.page.evaluate(f"() => {{ {broken}; }}")
    console.asked()
    note = console.page.get_by_role("dialog").get_by_role("alert")
    open_code = console.page.get_by_role("button", name="Code of the General request")
    open_code.click()
    expect(note).to_be_hidden()
    console.page.get_by_role("button", name="Copy").click()
    expect(note).to_contain_text("copy it yourself")
    console.page.get_by_role("button", name="Close").click()
    open_code.click()
    expect(console.page.get_by_role("button", name="Copy")).to_be_enabled()
    expect(note).to_be_hidden()


def test_the_code_asks_the_same(show: Show, gateway: Gateway, script: Script) -> None:
    """The snippets are run, with a question that no shell and no Python may take for its own."""
    console = show(gateway.url, permissions=["clipboard-read", "clipboard-write"])
    console.asked(HOSTILE)
    wanted = max(script.seen, key=lambda body: body["vllm_xargs"]["personadual_mode"] == "general")
    for tab, shell in (("curl", ["bash", "-c"]), ("Python", [sys.executable, "-c"])):
        console.page.get_by_role("button", name="Code of the General request").click()
        console.page.get_by_role("tab", name=tab).click()
        console.page.get_by_role("button", name="Copy").click()
        expect(console.page.get_by_role("dialog")).to_be_hidden()
        snippet = console.page.evaluate("() => navigator.clipboard.readText()")
        script.seen.clear()
        ran = subprocess.run([*shell, snippet], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert "Cook a stew." in ran.stdout
        (asked,) = script.seen
        for name in ("messages", "temperature", "max_tokens", "vllm_xargs"):
            assert asked[name] == wanted[name]


def test_hostile_text_is_shown_as_text(show: Show, gateway: Gateway, script: Script) -> None:
    put_persona(gateway.url, "eve", HOSTILE, attributes={"<b>x</b>": "<script>1</script>"})
    script.answer = f"{HOSTILE}\n\n<answer>{HOSTILE}</answer>"
    console = show(gateway.url)
    console.choose("eve")
    expect(console.page.locator(".persona-text")).to_have_text(HOSTILE)
    console.asked(HOSTILE)
    expect(console.text()).to_have_text(HOSTILE)
    expect(console.page.locator("#questions .asked")).to_contain_text(HOSTILE)
    assert console.page.title() == "PersonaDual"
    assert console.page.locator(":is(main, aside) :is(img, b, script)").count() == 0


def test_shares_count_what_the_model_decided_and_rest_while_nobody_looks(
    show: Show, gateway: Gateway, script: Script, browser: Browser
) -> None:
    console = ConsolePage(browser, gateway.url)
    polls: list[str] = []
    console.page.on("request", lambda it: polls.append(it.url) if "/metrics" in it.url else None)
    console.page.clock.install()
    console.open()
    shares = console.page.get_by_role("figure")
    expect(shares).to_contain_text("no decisions yet")
    for logprobs in (GENERAL, GENERAL, GENERAL, PERSONAL):
        script.logprobs = logprobs
        console.asked()
    expect(shares).to_contain_text("general 75 % · personalised 25 % of 4")
    with console.page.expect_request("**/metrics"):
        console.page.clock.run_for(5_100)
    console.page.evaluate(HIDE)
    seen = len(polls)
    console.page.clock.run_for(60_000)
    assert len(polls) == seen
    console.close()
