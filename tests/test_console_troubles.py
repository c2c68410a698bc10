"""The console where something is away, refused or broken: it says so, and goes on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from app.serve.preflight import free_port
from testbed.fake_engine import FakeEngine, Script
from testbed.http import call, put_persona
from tests.api_keys import command
from tests.conftest import Gateway, RedisServer, Show, Starter, wait_until
from tests.console_page import COLUMNS, ConsolePage

pytestmark = pytest.mark.program


def test_the_engine_is_away_and_comes_back(console: ConsolePage, script: Script) -> None:
    verdict = console.page.locator(".dial .verdict")
    expect(verdict).to_have_text("nothing asked yet")
    script.status = 503
    console.ask()
    for title in COLUMNS:
        expect(console.note(title)).to_contain_text("The engine is away or has no room.")
    expect(verdict).to_have_text("no decision")
    again = console.card("Auto").get_by_role("button", name=re.compile("Try again"))
    expect(again).to_have_text(re.compile("in [12] s"))
    expect(again).to_be_disabled()
    script.status = 200
    expect(again).to_be_enabled()
    again.click()
    expect(console.text()).to_have_text("Cook a stew.")
    expect(console.note("General")).to_contain_text("The engine is away")


def test_without_an_engine_the_page_opens_and_says_so(show: Show, start_gateway: Starter) -> None:
    console = show(start_gateway(f"http://127.0.0.1:{free_port()}").url)
    expect(console.page.locator("#health")).to_have_text("engine away")
    console.ask()
    expect(console.note()).to_contain_text("The engine is away")


def test_without_redis_answers_are_general_and_say_why(
    show: Show, start_gateway: Starter, fake: FakeEngine, gateway: Gateway
) -> None:
    put_persona(gateway.url, "ada", "Ada is vegan.")
    console = show(gateway.url)
    console.choose("ada")
    lame = start_gateway(fake.url, redis_url=f"redis://127.0.0.1:{free_port()}/0", auth="off")
    console.page.route(
        "**/v1/**",
        lambda route: route.fulfill(
            response=route.fetch(
                url=route.request.url.replace(gateway.url, lame.url),
                headers={**route.request.headers, "origin": lame.url},  # as its own page sends
            )
        ),
    )
    console.asked()
    expect(console.note()).to_contain_text("Redis does not answer")
    expect(console.card("Auto")).to_contain_text("took general")
    console.page.get_by_label("Find a persona").fill("a")
    expect(console.page.locator("#personas-note")).to_contain_text("Redis is away")


def test_a_refusal_names_the_field(
    show: Show, start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    console = show(start_gateway(fake.url, max_body_bytes=1_000).url)
    console.ask("x" * 2_000)
    expect(console.note()).to_have_text("Not accepted: the body is over the limit of 1000 bytes.")
    expect(console.card("Auto").get_by_role("button", name=re.compile("Try again"))).to_be_hidden()


def test_the_network_is_gone_and_comes_back(console: ConsolePage) -> None:
    console.asked()
    console.context.set_offline(True)
    console.ask("And now?")
    expect(console.note()).to_contain_text("The gateway does not answer.")
    console.context.set_offline(False)
    console.card("Auto").get_by_role("button", name="Try again").click()
    expect(console.text()).to_have_text("Cook a stew.")


def test_a_stream_that_breaks_keeps_what_has_come(console: ConsolePage, script: Script) -> None:
    script.answer, script.fail_after = "Well.\n\n<answer>Cook a stew.</answer>", 9
    console.ask()
    expect(console.note()).to_contain_text("broke off")
    expect(console.text()).to_have_text(re.compile("^Cook"))
    script.fail_after = None
    console.card("Auto").get_by_role("button", name="Try again").click()
    expect(console.text()).to_have_text("Cook a stew.")


def test_an_answer_is_tried_again_while_the_others_stream(
    console: ConsolePage, script: Script
) -> None:
    slow = Script(answer=f"Well.\n\n<answer>{'word ' * 400}", delay_s=0.05)
    broken = Script(fail_after=2)
    script.choose = lambda body: (
        broken if body["vllm_xargs"]["personadual_mode"] == "auto" else slow
    )
    console.ask()
    expect(console.note()).to_contain_text("broke off")
    broken.fail_after = None
    console.card("Auto").get_by_role("button", name="Try again").click()
    expect(console.text()).to_have_text("Cook a stew.")
    expect(console.card("Auto")).to_have_attribute("aria-busy", "false")
    expect(console.card("General")).to_have_attribute("aria-busy", "true")
    console.page.get_by_role("button", name="Stop", exact=True).click()
    expect(console.note("General")).to_have_text("Stopped.")
    console.settle()


def test_a_key_is_asked_for_and_kept_in_this_tab_alone(
    show: Show, gateway: Gateway, redis_server: RedisServer
) -> None:
    key = command(redis_server.url, "key", "create", "web").stdout.strip()
    wait_until(lambda: call(gateway.url, "/v1/models").status == 401)
    console = show(gateway.url)
    dialog = console.page.get_by_role("dialog", name="This gateway wants a key")
    dialog.get_by_label("Key").fill("pd-wrong")
    dialog.get_by_role("button", name="Use key").click()
    expect(dialog).to_contain_text("the API key is not known here")
    dialog.get_by_label("Key").fill(key)
    dialog.get_by_role("button", name="Use key").click()
    expect(dialog).to_be_hidden()
    console.asked()
    expect(console.text()).to_have_text("Cook a stew.")
    console.page.get_by_role("button", name="Code of the Auto request").click()
    expect(console.page.locator("#code-text")).to_contain_text("Bearer $PERSONADUAL_KEY")
    console.page.keyboard.press("Escape")
    kept = "() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]"
    session, local, cookie = console.page.evaluate(kept)
    assert key in session
    assert key not in local + cookie
    console.page.get_by_role("button", name="Forget key").click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(console.page.locator("#personas-note")).to_contain_text("wants a key")


REFUSED = """for (const name of ["localStorage", "sessionStorage"]) {
  const get = () => { throw new DOMException("no", "SecurityError"); };
  Object.defineProperty(window, name, { get });
}"""


def test_without_storage_the_page_works_and_keeps_nothing(
    browser: Browser, gateway: Gateway, redis_server: RedisServer
) -> None:
    """A browser may refuse all of it. The key is then kept until the page is left."""
    put_persona(gateway.url, "ada", "Ada is vegan.")
    console = ConsolePage(browser, gateway.url, color_scheme="light")
    console.page.add_init_script(REFUSED)
    console.open()
    expect(console.page.get_by_role("radio", name="ada")).to_be_visible()
    expect(console.page.locator("#options-said")).to_contain_text("256 tokens")
    console.page.get_by_role("button", name="Dark colours").click()
    ground = "() => getComputedStyle(document.body).backgroundColor"
    assert console.page.evaluate(ground) == "rgb(20, 21, 25)"
    key = command(redis_server.url, "key", "create", "web").stdout.strip()
    wait_until(lambda: call(gateway.url, "/v1/models").status == 401)
    console.ask()
    dialog = console.page.get_by_role("dialog")
    dialog.get_by_label("Key").fill(key)
    dialog.get_by_role("button", name="Use key").click()
    for title in COLUMNS:
        expect(console.text(title)).to_have_text("Cook a stew.")
    console.page.get_by_role("button", name="Forget key").click()
    expect(dialog).to_contain_text("This gateway wants a key")
    console.close()


@pytest.mark.parametrize("typed", ["pd-ключ", "pd-\u200bzero", "  "])
def test_a_key_that_cannot_be_one_is_refused_where_it_is_typed(
    show: Show, gateway: Gateway, redis_server: RedisServer, typed: str
) -> None:
    command(redis_server.url, "key", "create", "web")
    wait_until(lambda: call(gateway.url, "/v1/models").status == 401)
    console = show(gateway.url)
    dialog = console.page.get_by_role("dialog")
    dialog.get_by_label("Key").fill(typed)
    dialog.get_by_role("button", name="Use key").click()
    expect(dialog.get_by_role("alert")).to_contain_text("This is no key")
    expect(console.page.locator("#personas-note")).to_be_hidden()


def test_the_page_follows_a_service_that_comes_back_with_another_model(
    browser: Browser, gateway: Gateway
) -> None:
    """Its name and its threshold; one that was dragged stays until it is reset."""
    served = {"id": "pocket", "threshold": 0.5}
    console = ConsolePage(browser, gateway.url)
    console.page.route("**/v1/models", lambda route: route.fulfill(json={"data": [served]}))
    console.page.clock.install()
    console.open()
    health = console.page.locator("#health")
    expect(health).to_have_text("pocket")
    served.update(id="other", threshold=0.7)
    console.page.clock.run_for(31_000)
    expect(health).to_have_text("other")
    expect(console.threshold).to_have_attribute("aria-valuenow", "0.7")
    console.threshold.press("End")
    served.update(id="third", threshold=0.2)
    with console.page.expect_request("**/v1/chat/completions") as asked:
        console.ask()
    assert '"model":"third"' in (asked.value.post_data or "")
    expect(console.threshold).to_have_attribute("aria-valuenow", "1")
    console.page.get_by_role("button", name="Reset").click()
    expect(console.threshold).to_have_attribute("aria-valuenow", "0.2")
    console.settle()
    console.close()


def test_what_a_policy_does_not_leave_to_a_request_is_said(
    show: Show, gateway: Gateway, redis_server: RedisServer
) -> None:
    """The dial begins at the key's threshold; a forced mode is refused in the server's words."""
    wish = ("--threshold", "0.8", "--fixed")
    key = command(redis_server.url, "key", "create", "web", *wish).stdout.strip()
    wait_until(lambda: call(gateway.url, "/v1/models").status == 401)
    console = show(gateway.url)
    dialog = console.page.get_by_role("dialog")
    dialog.get_by_label("Key").fill(key)
    dialog.get_by_role("button", name="Use key").click()
    expect(console.threshold).to_have_attribute("aria-valuenow", "0.8")
    console.asked()
    expect(console.text()).to_have_text("Cook a stew.")
    expect(console.note("General")).to_contain_text("Not allowed: personadual.mode: the policy")
