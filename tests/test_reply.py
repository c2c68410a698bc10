"""The reply parser: one result however the text is cut, and no marker ever shown."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.mode import Mode, Tags
from model.reply import CLOSE, Part, Reply, ReplyParser, parse_reply
from model.vllm import EventSplitter

G, P = Tags().general, Tags().personalized
WHOLE = f"{P}They like stew.\n\n<answer>Stew, then.</answer>"

# text, reasons, expected: mode, reasoning, answer, is_complete
CASES = {
    "whole": (WHOLE, True, Reply(Mode.PERSONALIZED, "They like stew.", "Stew, then.", True)),
    "no reasoning": (f"{G}<answer>4</answer>", True, Reply(Mode.GENERAL, "", "4", True)),
    "no tag": ("r\n\n<answer>4</answer>", True, Reply(None, "r", "4", False)),
    "no marker": (f"{G}Paris.", True, Reply(Mode.GENERAL, "", "Paris.", False)),
    "nothing at all": ("", True, Reply(None, "", "", False)),
    "tag alone": (G, True, Reply(Mode.GENERAL, "", "", False)),
    "half a tag": ("[Gener", True, Reply(None, "", "", False)),
    "a bracket that is text": ("[Genoa]", True, Reply(None, "", "[Genoa]", False)),
    "tag in the middle": (f"{G}a {P}b", False, Reply(Mode.GENERAL, "", "a b", False)),
    "two tags": (f"{P}{G}b", False, Reply(Mode.PERSONALIZED, "", "b", False)),
    "same tag twice": (f"{G}{G}b", True, Reply(Mode.GENERAL, "", "b", False)),
    "unclosed answer": (f"{G}r\n\n<answer>4", True, Reply(Mode.GENERAL, "r", "4", False)),
    "half closed": (f"{G}r\n\n<answer>4</answ", True, Reply(Mode.GENERAL, "r", "4", False)),
    "marker inside reasoning": (
        f"{G}I write <answer> soon\n\n<answer>4</answer>",
        True,
        Reply(Mode.GENERAL, "I write  soon", "4", True),
    ),
    "marker after one break": (
        f"{G}r\n<answer>4</answer>",
        True,
        Reply(Mode.GENERAL, "r", "4", True),
    ),
    "marker inside the answer": (
        f"{G}r\n\n<answer>a\n\n<answer>b</answer>",
        True,
        Reply(Mode.GENERAL, "r", "a\n\nb", True),
    ),
    "empty answer": (f"{G}r\n\n<answer></answer>", True, Reply(Mode.GENERAL, "r", "", True)),
    "text behind the end": (
        f"{G}r\n\n<answer>4</answer> bye",
        True,
        Reply(Mode.GENERAL, "r", "4", True),
    ),
    "many breaks": (
        f"{G}r\n\n\n\n<answer>4</answer>",
        True,
        Reply(Mode.GENERAL, "r\n\n", "4", True),
    ),
    "closed without open": (f"{G}a</answer>b", True, Reply(Mode.GENERAL, "", "ab", False)),
    "less-than is text": (
        f"{G}2 < 3 [sic] <",
        False,
        Reply(Mode.GENERAL, "", "2 < 3 [sic] <", False),
    ),
    "markers, no reasoning": (
        f"{G}a\n\n<answer>b</answer>c",
        False,
        Reply(Mode.GENERAL, "", "a\n\nbc", False),
    ),
    "wide characters": (
        f"{P}日本\n\n<answer>é🦊</answer>",
        True,
        Reply(Mode.PERSONALIZED, "日本", "é🦊", True),
    ),
}


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[begin:end] for begin, end in pairwise(edges)]


def parse(pieces: list[str], reasons: bool) -> tuple[Reply, str, str]:
    """The reply, and what was shown on the way as reasoning and as answer."""
    parser = ReplyParser(Tags(), reasons=reasons)
    shown = [shown for piece in pieces for shown in parser.feed(piece)]
    shown += parser.finish()
    reasoning = "".join(text for part, text in shown if part is Part.REASONING)
    return parser.reply, reasoning, "".join(text for part, text in shown if part is Part.ANSWER)


@pytest.mark.parametrize("name", CASES)
def test_cases_at_every_cut(name: str) -> None:
    """Whole, cut in two at every place, and character by character: the same reply."""
    text, reasons, expected = CASES[name]
    assert parse_reply(text, reasons=reasons) == expected
    for place in range(len(text) + 1):
        assert parse(cut(text, [place]), reasons)[0] == expected, place
    assert parse(list(text), reasons)[0] == expected


def test_a_grammar_begins_the_answer_wherever_its_marker_stands() -> None:
    """The engine's grammar does; without one, a marker within a line is the model's own words."""
    text = '[General_mode]\nThe user wants JSON. <answer>{"city": "Paris"}'
    for place in range(len(text) + 1):
        parser = ReplyParser(Tags(), has_grammar=True)
        for part in cut(text, [place]):
            parser.feed(part)
        parser.finish()
        assert parser.reply.answer == '{"city": "Paris"}'
        assert parser.reply.reasoning == "The user wants JSON. "
    assert "wants JSON" in parse([text], True)[0].answer


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ('{"dish": "tofu</answer>"}', '{"dish": "tofu"}'),
        ('{"dish": "</b></answer> </answer>"}', '{"dish": "</b> "}'),
        ('{"dish": "tofu"}</answer>', '{"dish": "tofu"}'),
        ('{"dish": "</answer', '{"dish": "'),
    ],
)
def test_a_grammar_ends_the_answer(written: str, answer: str) -> None:
    """At every cut: the marker within is dropped, and nothing behind it is lost."""
    text = f"[General_mode]Why.\n\n<answer>{written}"
    for place in range(len(text) + 1):
        parser = ReplyParser(Tags(), has_grammar=True)
        pieces = [piece for part in cut(text, [place]) for piece in parser.feed(part)]
        pieces += parser.finish()
        assert "".join(shown for part, shown in pieces if part is Part.ANSWER) == answer
        assert parser.reply.answer == answer


@pytest.mark.parametrize("name", CASES)
def test_what_is_shown_is_what_is_parsed(name: str) -> None:
    """A caller that joins the answer pieces has the answer, and never saw a marker."""
    text, reasons, expected = CASES[name]
    _, reasoning, answer = parse(list(text), reasons)
    assert answer == expected.answer
    # Where no marker came, the text went out as reasoning first and then again as the answer.
    assert reasoning in (expected.reasoning, expected.answer)


fragments = st.sampled_from(
    [
        G,
        P,
        "[General_mode]",
        "[Gen",
        "\n",
        "\n\n",
        "<answer>",
        "</answer>",
        "<ans",
        "a",
        " b",
        "é🦊",
    ]
)


@settings(max_examples=400)
@given(st.lists(fragments, max_size=12), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_any_text_any_cut(parts: list[str], places: list[int], reasons: bool) -> None:
    """The property itself, over texts made of markers and their halves."""
    text = "".join(parts)
    whole, _, whole_answer = parse([text], reasons)
    reply, reasoning, answer = parse(cut(text, places), reasons)
    assert reply == whole
    assert answer == whole_answer == whole.answer
    if not any(half in parts for half in ("[Gen", "<ans")):
        # Halves around a whole marker join when it goes: a text made to trick, not a reply.
        for marker in ("<answer>", "</answer>", G.strip(), P.strip()):
            assert marker not in f"{reasoning} {answer}"


def test_text_goes_out_at_once() -> None:
    """Nothing is held back that cannot become a marker."""
    parser = ReplyParser(Tags(), reasons=False)
    assert parser.feed("[General_mode]\nHello") == [(Part.ANSWER, "Hello")]
    assert parser.feed(" wor") == [(Part.ANSWER, " wor")]
    assert parser.feed("ld <") == [(Part.ANSWER, "ld ")]
    assert parser.feed("3") == [(Part.ANSWER, "<3")]


def test_a_megabyte_is_quick_and_holds_nothing_back() -> None:
    """1 MB in 4-character pieces: linear time (a quadratic parser takes minutes)."""
    text = G + "abc <a\n" * 150_000
    begun = time.perf_counter()
    reply, _, answer = parse([text[at : at + 4] for at in range(0, len(text), 4)], False)
    assert time.perf_counter() - begun < 20
    assert len(reply.answer) == len(answer) == len(text) - len(G)


def test_characters_cut_in_two_are_whole_again() -> None:
    """The engine's bytes may be cut anywhere, also within a character: events are cut first."""
    events = (
        "".join(f'data: {{"t": "{word}"}}\n\n' for word in ("é", "日本", "🦊")) + "data: [DONE]\n\n"
    )
    raw = events.encode()
    expected = EventSplitter().feed(raw)
    for place in range(len(raw) + 1):
        splitter = EventSplitter()
        assert splitter.feed(raw[:place]) + splitter.feed(raw[place:]) == expected
        assert splitter.is_done


def test_tags_of_another_checkpoint() -> None:
    """Tags may be single added tokens without a line break."""
    tags = Tags("<|general|>", "<|personal|>")
    assert parse_reply("<|personal|>Hi", tags, reasons=False) == Reply(
        Mode.PERSONALIZED, "", "Hi", False
    )


def test_a_text_of_nothing_but_markers_costs_no_square() -> None:
    """Four times the text takes about four times as long, given at once."""

    def seconds(count: int) -> float:
        begun = time.process_time()
        assert parse_reply(f"{G}{CLOSE * count}").answer == ""
        return time.process_time() - begun

    seconds(1_000)
    assert seconds(80_000) < 10 * seconds(20_000)


@given(st.lists(fragments, max_size=12), st.booleans(), st.data())
def test_spans_say_where_the_answer_stands(
    pieces: list[str], reasons: bool, data: st.DataObject
) -> None:
    """Cut anyhow, the stretches of the text that they name are the answer."""
    text = "".join(pieces)
    parser, at = ReplyParser(Tags(), reasons=reasons), 0
    while at < len(text):
        end = data.draw(st.integers(at + 1, len(text)))
        parser.feed(text[at:end])
        at = end
    parser.finish()
    assert "".join(text[begin:end] for begin, end in parser.answer_spans) == parser.reply.answer


@pytest.mark.parametrize("half", ["</", "</answ", "<ans", "x <"])
def test_html_that_breaks_off_stays_where_nothing_reasons(half: str) -> None:
    """Only a half of a tag goes: no answer marker is expected there."""
    assert parse_reply(f"{G}<b>a{half}", reasons=False).answer == f"<b>a{half}"
    assert parse_reply(f"{G}a[Gen", reasons=False).answer == "a"


def test_a_call_is_the_answer() -> None:
    """What reasoned before a call stays reasoning, though no answer marker ever came."""
    parser = ReplyParser(Tags())
    parser.feed(f"{G}I look it up.")
    assert parser.finish(is_call=True) == []
    assert (parser.reply.reasoning, parser.reply.answer) == ("I look it up.", "")
