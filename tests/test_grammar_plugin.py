"""The plug-in inside vLLM's own parsers, without an engine: what its server makes of a reply.

vLLM has two forms of a forced call: its JSON list (here `xlam`), and the model's own form, which
the `hermes` parser reads. The engine asks the same plug-in where the grammar begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser.parser_manager import ParserManager
from vllm.tokenizers import cached_get_tokenizer

from model.card import Card, save_card
from model.decision import GATED_ANSWER, GATED_CALL, GATED_KEY
from model.gate.grammar import NAME, GrammarBegins
from model.mode import Mode, Tags
from model.reply import parse_reply

TAGS = Tags()
CITY = '{"city": "Paris"}'
CALLS = {
    "xlam": '[{"name": "weather", "parameters": {"city": "Paris"}}]',
    "hermes": '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
REASONED = ["They", " like", " stew", ".", "\n\n", "<", "answer", ">", "Stew", "</", "answer", ">"]


@pytest.fixture(scope="module")
def tokenizer(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Pocket's tokenizer, beside the card of a checkpoint that reasons."""
    folder = tmp_path_factory.mktemp("reasoning")
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (folder / name).write_bytes((pocket / name).read_bytes())
    save_card(Card(), folder)
    return cached_get_tokenizer(str(folder))


def ids_of(tokenizer: Any, *texts: str) -> list[int]:
    return [i for text in texts for i in tokenizer.encode(text, add_special_tokens=False)]


def parser_of(tokenizer: Any, tool_parser: str, gated: str | None) -> Any:
    made = ParserManager.get_parser(tool_parser, NAME, enable_auto_tools=True)
    assert made is not None
    return made(tokenizer, [], chat_template_kwargs={GATED_KEY: gated} if gated else {})


def request_of(choice: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest(
        model="m", messages=[{"role": "user", "content": "x"}], tools=[TOOL], tool_choice=choice
    )


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("tool_parser", CALLS)
def test_a_forced_call_behind_the_tag(tokenizer: Any, tool_parser: str, mode: Mode) -> None:
    """The tag goes to `reasoning`, and the rest is read as the call, as if it were all."""
    parser = parser_of(tokenizer, tool_parser, GATED_CALL)
    text = TAGS[mode] + CALLS[tool_parser]
    reasoning, content, calls = parser.parse(text, request_of("required"), True)
    assert (reasoning, content or None) == (TAGS[mode], None)
    assert [(call.name, call.arguments) for call in calls] == [("weather", CITY)]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("tool_parser", CALLS)
def test_a_forced_call_streamed(tokenizer: Any, tool_parser: str, step: int) -> None:
    """The same from deltas of any number of tokens."""
    parser, request = parser_of(tokenizer, tool_parser, GATED_CALL), request_of("required")
    ids = ids_of(tokenizer, TAGS.general, CALLS[tool_parser])
    told = streamed(tokenizer, parser, request, ids, step)
    assert told == (TAGS.general, "", "weather", CITY)


def streamed(
    tokenizer: Any, parser: Any, request: ChatCompletionRequest, ids: list[int], step: int
) -> tuple[str, str, str, str]:
    """Reasoning, content, and name and arguments of the call, from deltas of so many tokens."""
    reasoning, content, name, arguments = "", "", "", ""
    for at in range(0, len(ids), step):
        delta_ids = ids[at : at + step]
        is_last = at + step >= len(ids)
        delta = parser.parse_delta(
            tokenizer.decode(delta_ids), delta_ids, request, [1, 2], finished=is_last
        )
        if delta is None:
            continue
        reasoning += delta.reasoning or ""
        content += delta.content or ""
        for call in delta.tool_calls or []:
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    return reasoning, content.strip(), name, arguments


@pytest.mark.parametrize("step", [1, 3, 100])
def test_a_call_in_place_of_an_answer_with_a_grammar(tokenizer: Any, step: int) -> None:
    """It is told as a call, streamed as at once; the engine's own instance waits as before."""
    text = f"{TAGS.general}I need the weather.\n\n{CALLS['hermes']}"
    _, content, calls = parser_of(tokenizer, "hermes", GATED_ANSWER).parse(
        text, request_of("auto"), True
    )
    assert [(call.name, call.arguments) for call in calls] == [("weather", CITY)]
    parser, request = parser_of(tokenizer, "hermes", GATED_ANSWER), request_of("auto")
    told = streamed(tokenizer, parser, request, ids_of(tokenizer, text), step)
    assert told == ("", (content or "").strip(), "weather", CITY)


@pytest.mark.parametrize("gated", [GATED_ANSWER, None])
def test_other_replies_stay_whole(tokenizer: Any, gated: str | None) -> None:
    """The gateway parses them; nothing is split off."""
    parser = parser_of(tokenizer, "hermes", gated)
    text = f"{TAGS.general}They like stew.\n\n<answer>Stew</answer>"
    assert parser.parse(text, request_of("none"), True) == (None, text, [])


@pytest.mark.parametrize(
    ("gated", "ending"), [(GATED_CALL, TAGS.general), (GATED_ANSWER, "<answer>")]
)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_where_the_grammar_begins(tokenizer: Any, gated: str, ending: str, batch: int) -> None:
    """Behind the tag for a call, behind the marker for an answer; also where the end lies within
    a batch of tokens, as under speculative decoding."""
    plugin = GrammarBegins(tokenizer, chat_template_kwargs={GATED_KEY: gated})
    assert not plugin.is_reasoning_end([1, 2, 3])
    ids = ids_of(tokenizer, TAGS.general, *REASONED)
    begun = []
    for end in range(batch, len(ids) + 1, batch):
        if plugin.is_reasoning_end_streaming(ids[:end], ids[end - batch : end]):
            begun.append(end)
    [found] = begun
    exact = next(n for n in range(len(ids) + 1) if tokenizer.decode(ids[:n]).endswith(ending))
    assert found - batch < exact <= found


def test_who_is_not_gated_is_left_alone(tokenizer: Any) -> None:
    plugin = GrammarBegins(tokenizer)
    assert plugin.is_reasoning_end([1])
    assert plugin.is_reasoning_end_streaming([1], [1])


@pytest.mark.parametrize(
    ("texts", "reasoning"),
    [
        ([TAGS.general, *REASONED], 4),
        ([TAGS.personalized, *REASONED], 4),
        ([TAGS.general, *REASONED[4:]], 0),
        ([TAGS.general, "They", " like", " stew"], 0),  # no marker: all of it is the answer
        ([TAGS.general, "a <answer> b", *REASONED], None),  # not at a line's start: no marker
        (REASONED, 0),  # no tag: not one of ours
        ([TAGS.general, "Ça", " va", "🦊", "\n", "<", "answer", ">", "x"], None),
        ([], 0),
    ],
)
def test_reasoning_tokens_are_counted(
    tokenizer: Any, texts: list[str], reasoning: int | None
) -> None:
    """Exactly, by ids: those between tag and marker; the parser of replies agrees on which."""
    plugin = GrammarBegins(tokenizer)
    ids = ids_of(tokenizer, *texts)
    counted = plugin.count_reasoning_tokens(ids)
    if reasoning is not None:
        assert counted == reasoning
    if counted:
        begin = len(ids_of(tokenizer, texts[0]))
        told = tokenizer.decode(ids[begin : begin + counted])
        marked = told.replace("<answer>", "")  # the parser drops a marker where it means nothing
        assert marked == parse_reply(tokenizer.decode(ids), TAGS).reasoning
