"""How the console looks and reads, in real Chromium: contrast, focus, narrow screens, the tree."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from testbed.fake_engine import Script
from testbed.http import put_persona
from tests.conftest import Gateway, Show
from tests.console_page import ConsolePage

pytestmark = pytest.mark.program
LONG = "Donaudampfschifffahrtsgesellschaft" * 6

# Texts whose contrast with what is painted behind them is under 4.5, the AA bound.
FAINT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!hasText || !element.checkVisibility()) continue;
    if (element.closest(":disabled, .hidden, .skip")) continue;
    const style = getComputedStyle(element);
    const ink = rgba(element.ownerSVGElement ? style.fill : style.color).slice(0, 3);
    const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""
# What has the focus, and whether one can see that it has.
FOCUSED = """() => {
  const at = document.activeElement;
  if (at === document.body) return null;
  const around = [at, at.closest("label"), at.closest(".field")].filter(Boolean);
  const ring = at.querySelector(".ring");
  const isSeen = around.some((one) => getComputedStyle(one).outlineStyle === "solid")
    || (ring !== null && getComputedStyle(ring).stroke !== "none");
  const name = at.id || at.textContent.trim() || at.getAttribute("aria-label") || at.value;
  return [name, isSeen];
}"""


def filled(show: Show, gateway: Gateway, script: Script, **context: object) -> ConsolePage:
    """A page with a persona chosen, a question answered in each mode, and one that would flip."""
    put_persona(gateway.url, "ada", f"Ada is vegan. {LONG}", attributes={"city": LONG})
    console = show(gateway.url, **context)
    if console.page.locator("#rail:not([open])").count():
        console.page.get_by_text("Personas").click()
    console.choose("ada")
    script.answer = f"{LONG}\n\n<answer>{LONG}</answer>"
    for logprobs in ((-0.1, -5.0), (-5.0, -0.1)):
        script.logprobs = logprobs
        console.asked(LONG)
    console.threshold.press("Home")
    expect(console.page.get_by_text("1 of 2 would flip")).to_be_visible()
    return console


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(
    show: Show, gateway: Gateway, script: Script, scheme: str
) -> None:
    console = filled(show, gateway, script, color_scheme=scheme, reduced_motion="reduce")
    assert console.page.evaluate(FAINT) == []
    script.status = 503
    console.asked()
    assert console.page.evaluate(FAINT) == []
    console.page.get_by_role("button", name="Edit").click()
    assert console.page.evaluate(FAINT) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1024])
def test_no_screen_scrolls_sideways(
    show: Show, gateway: Gateway, script: Script, width: int
) -> None:
    """Not with the longest words in question, persona, attribute and answer, either."""
    console = filled(show, gateway, script, viewport={"width": width, "height": 800})
    assert console.page.evaluate("() => document.documentElement.scrollWidth") == width
    console.page.get_by_role("button", name="Code of the Auto request").click()
    assert console.page.evaluate("() => document.documentElement.scrollWidth") == width


def test_a_narrow_screen_opens_with_the_question(show: Show, gateway: Gateway) -> None:
    console = show(gateway.url, viewport={"width": 390, "height": 700})
    expect(console.page.get_by_label("Find a persona")).to_be_hidden()
    expect(console.page.get_by_role("button", name="Ask", exact=True)).to_be_in_viewport()
    console.page.get_by_text("Personas").click()
    expect(console.page.get_by_label("Find a persona")).to_be_visible()


def test_the_personas_open_again_when_a_narrow_window_is_widened(
    show: Show, gateway: Gateway
) -> None:
    """There the heading is no button. It is none for the keyboard, either."""
    console = show(gateway.url, viewport={"width": 390, "height": 700})
    search = console.page.get_by_label("Find a persona")
    expect(search).to_be_hidden()
    console.page.set_viewport_size({"width": 1200, "height": 700})
    expect(search).to_be_visible()
    heading = console.page.locator("#rail > summary")
    expect(heading).to_have_attribute("tabindex", "-1")
    console.page.set_viewport_size({"width": 390, "height": 700})
    expect(search).to_be_hidden()
    expect(heading).to_have_attribute("tabindex", "0")


def test_text_from_right_to_left_is_laid_out_so(
    show: Show, gateway: Gateway, script: Script
) -> None:
    """Each text by its own letters, line by line; what is around it stays."""
    hebrew = "עדה טבעונית, מליסבון."
    put_persona(gateway.url, "ada", hebrew, attributes={"city": hebrew})
    script.answer = f"{hebrew}\n\n<answer>{hebrew}</answer>"
    console = show(gateway.url)
    direction = "element => getComputedStyle(element).direction"
    parts = [
        "#question",
        "#answers .text >> nth=1",
        "#answers .reasoning p >> nth=1",
        ".persona-text",
        ".attributes dd",
        "#questions .asked",
        "#editor-text",
    ]
    console.choose("ada")
    console.asked(hebrew)
    console.page.get_by_role("button", name="Edit").click()
    assert [console.page.locator(part).evaluate(direction) for part in parts] == ["rtl"] * 7
    assert console.page.locator("main").evaluate(direction) == "ltr"
    console.page.get_by_role("button", name="Cancel").click()
    script.answer = "Why.\n\n<answer>Stew.</answer>"
    console.asked("What now?")
    for part in (*parts[:3], "#questions .asked >> nth=0"):
        assert console.page.locator(part).evaluate(direction) == "ltr"


def test_everything_is_reached_by_keyboard_and_seen_to_have_the_focus(
    show: Show, gateway: Gateway, script: Script
) -> None:
    console = filled(show, gateway, script)
    console.page.reload()
    console.asked()
    reached = {}
    for _ in range(60):
        console.page.keyboard.press("Tab")
        at = console.page.evaluate(FOCUSED)
        if at is not None:
            reached[at[0]] = at[1]
    assert [name for name, is_seen in reached.items() if not is_seen] == []
    for wanted in ("theme", "persona-search", "import", "question", "Options", "Threshold", "send"):
        assert any(wanted in name for name in reached), wanted


def test_the_colours_follow_the_system_until_one_is_chosen(show: Show, gateway: Gateway) -> None:
    console = show(gateway.url, color_scheme="dark")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    assert console.page.evaluate(ground) == "rgb(20, 21, 25)"
    toggle = console.page.get_by_role("button", name="Dark colours")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    toggle.click()
    assert console.page.evaluate(ground) == "rgb(250, 249, 246)"
    console.page.reload()
    assert console.page.evaluate(ground) == "rgb(250, 249, 246)"
    expect(toggle).to_have_attribute("aria-pressed", "false")


def test_nothing_moves_for_those_who_want_no_motion(
    show: Show, gateway: Gateway, script: Script
) -> None:
    script.answer, script.delay_s = "x\n\n<answer>" + "word " * 200, 0.02
    for motion, name in (("no-preference", "breathe"), ("reduce", "none")):
        console = show(gateway.url, reduced_motion=motion)
        console.ask()
        expect(console.text()).to_contain_text("word")
        caret = "() => getComputedStyle(document.querySelector('.text'), '::after').animationName"
        assert console.page.evaluate(caret) == name
        console.page.keyboard.press("Escape")


def test_the_tree_that_assistive_technology_reads(
    show: Show, gateway: Gateway, script: Script
) -> None:
    put_persona(gateway.url, "ada", "Ada is vegan.")
    script.answer = "Why.\n\n<answer>Stew</answer>"
    console = show(gateway.url)
    console.choose("ada")
    console.asked("What now?")
    expect(console.page.locator("body")).to_match_aria_snapshot("""
      - link "Skip to the question"
      - banner:
        - link "PersonaDual"
        - status: pocket
        - figure "Modes that this gateway's model chose"
        - button "Dark colours"
      - complementary "Personas":
        - group:
          - searchbox "Find a persona by the first letters of its id"
          - radiogroup "Answer for":
            - radio "Nobody"
            - radio "ada" [checked]
          - region "Chosen persona":
            - paragraph: Ada is vegan.
            - button "Edit"
            - button "Delete"
      - main:
        - heading "Ask once, see both ways of answering" [level=1]
        - textbox "Question"
        - button "Ask"
        - region "Answers":
          - article "General":
            - button "Code of the General request"
            - group: Reasoning
            - paragraph: Stew
          - article "Auto":
            - heading "Auto" [level=2]
            - text: took general
          - article "Personalised"
        - region "Probability of personalised":
          - group "Dial":
            - slider "Threshold"
        - region "This session":
          - list:
            - listitem:
              - button "What now? ada general 27 %"
    """)
    for part in (console.text(), console.page.locator("#flips")):
        live = "e => e.getAttribute('aria-live') || e.getAttribute('role')"
        assert part.evaluate(live) in ("polite", "status")
