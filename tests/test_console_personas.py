"""The console's personas in real Chromium: find, write, delete, import, export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Route, expect
from redis import Redis

from testbed.fake_engine import Script, sent
from testbed.http import call, put_persona
from tests.conftest import Gateway, RedisServer, Show
from tests.console_page import ConsolePage

pytestmark = pytest.mark.program


def ids(console: ConsolePage) -> Locator:
    return console.page.get_by_role("radiogroup", name="Answer for").get_by_role("radio")


def editor(console: ConsolePage) -> Locator:
    return console.page.get_by_role("dialog", name="persona")


def upload(console: ConsolePage, *lines: str) -> None:
    file = {
        "name": "p.jsonl",
        "mimeType": "application/x-ndjson",
        "buffer": "\n".join(lines).encode(),
    }
    console.page.get_by_label("JSONL file of personas").set_input_files(file)


def test_a_persona_is_written_used_changed_and_deleted(
    console: ConsolePage, gateway: Gateway, script: Script, redis: Redis
) -> None:
    page = console.page
    page.get_by_role("button", name="New", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Id").fill("ada")
    dialog.get_by_label("What is known").fill("Ada is vegan.\nShe lives in Lisbon.")
    dialog.get_by_label("Attributes").fill('age: 36\nis_new: true\ncity: Lisbon\nflat: "7"')
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Chosen persona")).to_contain_text("Ada is vegan.")
    expect(ids(console)).to_have_count(2)
    stored = call(gateway.url, "/v1/personas/ada").json
    assert stored["attributes"] == {"age": 36, "is_new": True, "city": "Lisbon", "flat": "7"}
    console.asked()
    assert "Ada is vegan.\nShe lives in Lisbon." in sent(script)["messages"][0]["content"]
    key = "personadual:{default}:persona:ada"
    expect(page.get_by_label("Chosen persona")).not_to_contain_text("Forgotten")
    redis.expire(key, 1_000)
    console.choose("Nobody")
    console.choose("ada")
    expect(page.get_by_label("Chosen persona")).to_contain_text("Forgotten on")
    page.get_by_role("button", name="Edit").click()
    expect(dialog).to_contain_text("Forgotten on")
    dialog.get_by_label("What is known").fill("Ada is a cook.")
    dialog.get_by_label("Attributes").fill("age: 37\nis_new: true")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Chosen persona")).to_contain_text("Version 2")
    changed = call(gateway.url, "/v1/personas/ada").json
    assert changed["text"] == "Ada is a cook."
    assert changed["attributes"] == {"age": 37, "is_new": True}
    assert redis.ttl(key) > 900, "an edit makes nobody permanent"
    page.get_by_role("button", name="New", exact=True).click()
    expect(dialog).not_to_contain_text("Forgotten")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_label("Chosen persona")).to_be_hidden()
    expect(page.get_by_text("For nobody in particular")).to_be_visible()
    assert call(gateway.url, "/v1/personas/ada").status == 404


def test_what_is_refused_stays_in_the_editor(console: ConsolePage) -> None:
    console.page.get_by_role("button", name="New", exact=True).click()
    dialog = console.page.get_by_role("dialog")
    dialog.get_by_label("Id").fill("a b")
    dialog.get_by_label("What is known").fill("x")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("persona_id must be 1 to 128 of")
    dialog.get_by_label("Id").fill("ab")
    dialog.get_by_label("Attributes").fill("age: 36\nnonsense")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_have_text("Attributes, line 2: write it as name: value.")
    expect(dialog.get_by_label("What is known")).to_have_value("x")


def test_a_new_persona_replaces_nobody(console: ConsolePage, gateway: Gateway) -> None:
    """Neither one that is in the list, nor one that has come since, nor under a route's name."""
    put_persona(gateway.url, "ada", "Ada is vegan.")
    put_persona(gateway.url, "ada2", "Ada too.")
    console.page.get_by_role("button", name="New", exact=True).click()
    dialog = console.page.get_by_role("dialog")
    dialog.get_by_label("What is known").fill("Somebody else.")
    for persona_id, said in (
        ("ada", "There is a persona ada already. Take another id, or choose ada and edit it."),
        ("export", "Not accepted: persona_id: no persona can be called export"),
    ):
        dialog.get_by_label("Id").fill(persona_id)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_role("alert")).to_contain_text(said)
    assert call(gateway.url, "/v1/personas/ada").json["text"] == "Ada is vegan."
    dialog.get_by_label("Id").fill("ad")
    dialog.get_by_role("button", name="Save").click()
    expect(console.page.get_by_label("Chosen persona")).to_contain_text("Somebody else.")


def test_whole_numbers_of_any_size_stay_as_they_are(show: Show, gateway: Gateway) -> None:
    """What JavaScript would round is shown, edited and saved in all its digits."""
    numbers = {"account": 2**63 + 1, "debt": -(2**53) - 1, "weight": 1e20, "age": 36}
    put_persona(gateway.url, "ada", "Ada is vegan.", attributes=numbers)
    console = show(gateway.url)
    console.choose("ada")
    chosen = console.page.get_by_label("Chosen persona")
    expect(chosen).to_contain_text(f"account{2**63 + 1}")
    console.page.get_by_role("button", name="Edit").click()
    dialog = console.page.get_by_role("dialog")
    field = dialog.get_by_label("Attributes")
    field.fill(f"{field.input_value()}\nphone: {2**53 + 1}")
    dialog.get_by_role("button", name="Save").click()
    expect(chosen).to_contain_text("Version 2")
    stored = call(gateway.url, "/v1/personas/ada").json["attributes"]
    assert stored == {**numbers, "phone": 2**53 + 1}


@pytest.mark.parametrize("number", [str(2**64), str(-(2**63) - 1), "1e999"])
def test_a_number_that_the_gateway_would_round_is_refused(
    console: ConsolePage, number: str
) -> None:
    console.page.get_by_role("button", name="New", exact=True).click()
    dialog = console.page.get_by_role("dialog")
    dialog.get_by_label("Id").fill("ada")
    dialog.get_by_label("What is known").fill("x")
    dialog.get_by_label("Attributes").fill(f"age: 36\naccount: {number}")
    dialog.get_by_role("button", name="Save").click()
    said = "Attributes, line 2: a number of this size would be rounded. Put it in quotes, as text."
    expect(dialog.get_by_role("alert")).to_have_text(said)
    dialog.get_by_label("Attributes").fill(f'account: "{number}"')
    dialog.get_by_role("button", name="Save").click()
    expect(console.page.get_by_label("Chosen persona")).to_contain_text(number)


def test_attributes_survive_being_shown_and_read(console: ConsolePage) -> None:
    """Whatever names and values a persona has, an editor that is saved unchanged changes none."""
    attributes = {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": "true",
        "e": "1",
        "f": " padded ",
        "g": '"quoted"',
        "with: colon": "x: y",
        '"name"': "null",
        "h": "{}",
        "i": "two\nlines",
        "j": "é",
        "k": str(2**64),
    }
    text = json.dumps(attributes)
    assert console.call("/console/attributes.js", f"m.read(m.write({text}))") == attributes


def test_the_first_visitor_is_offered_an_example(console: ConsolePage) -> None:
    console.page.get_by_role("button", name="Add Ada, an example").click()
    expect(console.page.get_by_label("Chosen persona")).to_contain_text("vegan cook")
    expect(console.page.get_by_text("For ada")).to_be_visible()


def test_any_number_of_personas_is_paged_and_found(show: Show, gateway: Gateway) -> None:
    for number in range(120):
        put_persona(gateway.url, f"user-{number:03}", "x")
    put_persona(gateway.url, "zoe", "x")
    console = show(gateway.url)
    expect(ids(console)).to_have_count(51)
    for count in (101, 122):
        console.page.get_by_role("button", name="Show more").click()
        expect(ids(console)).to_have_count(count)
    expect(console.page.get_by_role("button", name="Show more")).to_be_hidden()
    search = console.page.get_by_label("Find a persona")
    for prefix, count in (("user-01", 11), ("zoe", 2), ("zoey", 1), ("user-", 51), ("", 51)):
        search.fill(prefix)
        expect(ids(console)).to_have_count(count)
    search.fill("a b")
    expect(console.page.locator("#personas-note")).to_contain_text("Ids hold letters")


def test_a_page_of_personas_comes_once(show: Show, gateway: Gateway) -> None:
    """However often the button is pressed; and it stays where the page did not come."""
    for number in range(60):
        put_persona(gateway.url, f"user-{number:02}", "x")
    console = show(gateway.url)
    pages: list[str] = []
    console.page.on("request", lambda it: pages.append(it.url) if "after=" in it.url else None)
    more = console.page.get_by_role("button", name="Show more")
    console.context.set_offline(True)
    more.click()
    expect(console.page.locator("#personas-note")).to_contain_text("does not answer")
    console.context.set_offline(False)
    pages.clear()
    more.evaluate("button => { button.click(); button.click(); }")
    expect(ids(console)).to_have_count(61)
    assert len(pages) == 1


def test_a_search_begins_right_before_its_prefix(show: Show, gateway: Gateway) -> None:
    """Of ids in byte order, none that begins so is skipped: not the shortest, not the first."""
    for persona_id in ("a", "a+", "a+~", "a.", "b", "A", "~", "~~", "+", "++"):
        put_persona(gateway.url, persona_id, "x")
    console = show(gateway.url)
    for prefix, found in (("a", 4), ("a+", 2), ("+", 2), ("~", 2), ("b", 1), ("B", 0)):
        console.page.get_by_label("Find a persona").fill(prefix)
        expect(ids(console)).to_have_count(found + 1)


def test_import_goes_on_past_bad_lines_and_names_them(
    console: ConsolePage, gateway: Gateway
) -> None:
    good = [json.dumps({"id": f"u{n}", "text": "x", "attributes": {"n": n}}) for n in range(30)]
    upload(console, *good, "", "{nonsense", '{"text": "no id"}', '{"id": "v", "text": ""}')
    progress = console.page.locator("#transfer")
    expect(progress.get_by_role("status")).to_have_text("30 imported, 3 refused.")
    for line in ("Line 32: the line is not JSON", "Line 33: id", "Line 34: text"):
        expect(progress).to_contain_text(line)
    expect(ids(console)).to_have_count(31)
    assert call(gateway.url, "/v1/personas/u7").json["attributes"] == {"n": 7}


def test_what_is_imported_shows_in_the_chosen_persona(show: Show, gateway: Gateway) -> None:
    put_persona(gateway.url, "ada", "Ada is vegan.")
    console = show(gateway.url)
    console.choose("ada")
    chosen = console.page.get_by_label("Chosen persona")
    expect(chosen).to_contain_text("Version 1")
    upload(console, json.dumps({"id": "ada", "text": "Ada is a cook."}))
    expect(chosen).to_contain_text("Ada is a cook.")
    expect(chosen).to_contain_text("Version 2")


def test_one_import_or_export_runs_at_a_time(console: ConsolePage, gateway: Gateway) -> None:
    """They share a bar and a way to stop it."""
    held: list[Route] = []
    console.page.route("**/v1/personas/import", lambda route: held.append(route))
    buttons = [console.page.get_by_role("button", name=name) for name in ("Import", "Export")]
    with console.page.expect_request("**/v1/personas/import"):
        upload(console, '{"id": "ada", "text": "x"}')
    for button in buttons:
        expect(button).to_be_disabled()
    held[0].continue_()
    expect(console.page.locator("#transfer")).to_contain_text("1 imported.")
    with console.page.expect_download():
        buttons[1].click()
    for button in buttons:
        expect(button).to_be_enabled()


def test_what_is_exported_can_be_imported(
    show: Show, gateway: Gateway, redis: Redis, tmp_path: Path
) -> None:
    personas = {f"p{n:02}": {"text": f"Line\n{n} é", "attributes": {"n": n}} for n in range(20)}
    for persona_id, fields in personas.items():
        put_persona(gateway.url, persona_id, **fields)
    console = show(gateway.url)
    with console.page.expect_download() as waiting:
        console.page.get_by_role("button", name="Export").click()
    waiting.value.save_as(tmp_path / "all.jsonl")
    text = (tmp_path / "all.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    kept = [{name: line[name] for name in ("id", "text", "attributes")} for line in lines]
    assert kept == [{"id": persona_id, **fields} for persona_id, fields in personas.items()]
    redis.flushall()
    upload(console, text)
    expect(console.page.locator("#transfer")).to_contain_text("20 imported.")
    assert redis.dbsize() > 0


def test_an_import_can_be_stopped(console: ConsolePage, redis_server: RedisServer) -> None:
    # So many that none but a stop ends it, however busy the machine is.
    upload(console, *[json.dumps({"id": f"u{n}", "text": "x"}) for n in range(100_000)])
    progress = console.page.locator("#transfer")
    # The first piece is six thousand personas: on a busy machine more than the usual five seconds.
    expect(progress).to_contain_text("imported", timeout=60_000)
    progress.get_by_role("button", name="Stop").click()
    expect(progress.get_by_role("status")).to_contain_text("; stopped.", timeout=60_000)
    expect(progress.get_by_role("button", name="Stop")).to_be_hidden()
