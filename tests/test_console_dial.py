"""The console's dial in real Chromium: dragged, by keyboard, by finger; the gate's rule."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from testbed.fake_engine import Script
from tests.conftest import Gateway, Show
from tests.console_page import ConsolePage, dials

pytestmark = pytest.mark.program
GENERAL, PERSONAL, EVEN = (-0.1, -5.0), (-5.0, -0.1), (-1.0, -1.2)


def test_the_threshold_is_dragged_and_shows_what_would_flip(
    console: ConsolePage, script: Script
) -> None:
    for logprobs, question in ((GENERAL, "A fact?"), (EVEN, "Either?"), (PERSONAL, "A taste?")):
        script.logprobs = logprobs
        console.asked(question)
    expect(console.page.locator(".dial .value")).to_have_text("99.3 %")
    expect(console.page.locator(".dial .dot")).to_have_count(2)
    row = console.page.get_by_role("button", name="Either?")
    expect(row).to_contain_text("general")
    expect(console.threshold).to_have_attribute("aria-valuenow", "0.5")
    console.threshold.scroll_into_view_if_needed()
    handle = console.threshold.bounding_box()
    assert handle is not None
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    console.page.mouse.move(x, y)
    console.page.mouse.down()
    console.page.mouse.move(x - 60, y + 20, steps=4)
    console.page.mouse.up()
    dragged = float(console.threshold.get_attribute("aria-valuenow") or 1)
    assert 0.02 < dragged < 0.4
    expect(console.page.get_by_text("1 of 3 would flip")).to_be_visible()
    expect(row).to_contain_text("general → personalised")
    script.seen.clear()
    console.asked("Once more?")
    assert dials(script)[0] == {"personadual_mode": "auto", "personadual_threshold": dragged}
    expect(console.card("Auto")).to_contain_text("model, your threshold")
    console.page.get_by_role("button", name="Reset").click()
    expect(console.threshold).to_have_attribute("aria-valuenow", "0.5")


def test_the_threshold_moves_by_keyboard_from_end_to_end(console: ConsolePage) -> None:
    slider = console.threshold
    slider.focus()
    for key, value in (
        ("ArrowRight", "0.57"),
        ("ArrowLeft", "0.5"),
        ("PageDown", "0.18"),
        ("Home", "0"),
        ("ArrowLeft", "0"),
        ("ArrowRight", "0.001"),
        ("End", "1"),
    ):
        slider.press(key)
        expect(slider).to_have_attribute("aria-valuenow", value)
    expect(slider).to_have_attribute("aria-valuetext", "1: never personalised")
    for _ in range(60):
        slider.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "0: always personalised")


def test_the_dial_keeps_the_gates_rule(console: ConsolePage) -> None:
    """A threshold of 0 is always reached, one of 1 never, also by a saturated probability."""
    cases = {
        (0.0, 0.0): "personalized",
        (1.0, 1.0): "general",
        (0.5, 0.5): "personalized",
        (0.49, 0.5): "general",
    }
    for (probability, threshold), mode in cases.items():
        assert console.call("/console/dial.js", f"m.modeAt({probability}, {threshold})") == mode


@pytest.mark.parametrize("width", [390, 800, 1000, 1400])
def test_the_dial_is_of_a_size_on_every_screen(show: Show, gateway: Gateway, width: int) -> None:
    """Where it has a row to itself it does not fill it: its letters would outgrow the page's."""
    console = show(gateway.url, viewport={"width": width, "height": 800})
    box = console.page.locator("#dial svg").bounding_box()
    assert box is not None
    assert 250 < box["width"] <= 420


def swipe(console: ConsolePage, begin: tuple[float, float], by: tuple[float, float]) -> None:
    """One finger, as the browser itself would hear of it."""
    session = console.context.new_cdp_session(console.page)

    def touch(kind: str, share: float | None) -> None:
        at = (
            []
            if share is None
            else [{"x": begin[0] + share * by[0], "y": begin[1] + share * by[1]}]
        )
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", 0)
    for step in range(1, 11):
        touch("touchMove", step / 10)
        console.page.wait_for_timeout(20)
    touch("touchEnd", None)
    console.page.wait_for_timeout(200)


def test_a_finger_scrolls_over_the_dial_and_drags_along_its_arc(
    show: Show, gateway: Gateway
) -> None:
    console = show(gateway.url, viewport={"width": 390, "height": 700}, has_touch=True)
    scrolled = "() => Math.round(scrollY)"
    dial = console.page.locator("#dial svg")
    dial.scroll_into_view_if_needed()
    for part in (".value", ".end.general", ".tick >> nth=1"):
        before = console.page.evaluate(scrolled)
        box = console.page.locator(f".dial {part}").bounding_box()
        assert box is not None
        swipe(console, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2), (0, 80))
        assert console.page.evaluate(scrolled) < before - 30, part
        expect(console.threshold).to_have_attribute("aria-valuenow", "0.5")
        dial.scroll_into_view_if_needed()
    before = console.page.evaluate(scrolled)
    box = dial.bounding_box()
    assert box is not None
    scale = box["width"] / 320
    top = (box["x"] + 160 * scale, box["y"] + (172 - 116) * scale)
    swipe(console, top, (70, 40))
    dragged = float(console.threshold.get_attribute("aria-valuenow") or 0)
    assert 0.6 < dragged < 1
    # A little beside the line, where a finger lands.
    left = (box["x"] + (160 - 116 - 12) * scale, box["y"] + 150 * scale)
    swipe(console, left, (0, -60))
    assert 0 < float(console.threshold.get_attribute("aria-valuenow") or 1) < 0.3
    assert console.page.evaluate(scrolled) == before
