"""The gate's rule for a grammar that waits: alone, and against the plug-in that says where the
grammar begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from vllm.tokenizers import cached_get_tokenizer

from model.card import Card, save_card
from model.decision import GATED_ANSWER, GATED_KEY
from model.gate.grammar import GrammarBegins
from model.gate.marker import BEGIN, WHOLE, MarkerRule
from tests.gate_drives import (
    CPU,
)

FORMS = [
    "<answer>",
    "<|answer|>",
    "<",
    "an",
    "swer",
    ">",
    ">>",
    ">\n",
    'er>"',
    "<answer>x",
    "x<an",
    "",
]


@pytest.fixture(scope="module")
def tokenizer(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Pocket's tokenizer, beside the card of a checkpoint that reasons."""
    folder = tmp_path_factory.mktemp("reasoning")
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (folder / name).write_bytes((pocket / name).read_bytes())
    save_card(Card(), folder)
    return cached_get_tokenizer(str(folder))


@pytest.fixture(scope="module")
def pocket_rule(tokenizer: Any) -> MarkerRule:
    return MarkerRule(tokenizer.get_vocab(), CPU)


def forbidden(rule: MarkerRule, place: int, size: int) -> set[int]:
    """The ids that the rule forbids at a place, of a row in which all was allowed."""
    logits = torch.zeros(1, size)
    rule.bind(logits, torch.tensor([0]), torch.tensor([place]))
    return set(torch.isneginf(logits[0]).nonzero().flatten().tolist())


@given(st.lists(st.sampled_from(range(len(FORMS))), max_size=12))
def test_a_place_is_the_longest_beginning_that_the_text_ends_with(ids: list[int]) -> None:
    """By text, for every way of cutting it; token by token and in one go say the same."""
    rule = MarkerRule({form: i for i, form in enumerate(FORMS)}, CPU)
    place, text = BEGIN, ""
    for token in ids:
        text += FORMS[token]
        place = rule.follow(place, [token])
        assert place == max(n for n in range(WHOLE + 1) if text.endswith("<answer>"[:n]))
        if place == WHOLE:
            break
    if ids:
        behind, is_whole = rule.read(torch.tensor([ids]))
        assert bool(is_whole.any()) == (place == WHOLE)
        if place != WHOLE:
            assert int(behind[0]) == place
    assert rule.follow(BEGIN, ids) == place


@pytest.mark.parametrize(
    ("place", "fused"),
    [
        (0, {"<answer>x"}),
        (2, {"<answer>x"}),
        (6, {"<answer>x"}),
        (len("<answ"), {"<answer>x", 'er>"'}),
        (len("<answer"), {"<answer>x", ">>", ">\n"}),
        (WHOLE, set()),
    ],
)
def test_what_completes_the_marker_and_goes_on_is_forbidden(place: int, fused: set[str]) -> None:
    """At each place just that; the plain end, its halves and all else stay."""
    rule = MarkerRule({form: i for i, form in enumerate([*FORMS, "e", "r"])}, CPU)
    assert {FORMS[i] for i in forbidden(rule, place, 20)} == fused
    assert rule.binds(place) == bool(fused)


@pytest.mark.parametrize("unknown", [-1, len(FORMS), 10_000])
def test_an_id_that_is_no_token_is_other_text(unknown: int) -> None:
    rule = MarkerRule({form: i for i, form in enumerate(FORMS)}, CPU)
    ids = [FORMS.index("<"), unknown]
    assert rule.follow(BEGIN, ids) == BEGIN
    assert int(rule.read(torch.tensor([ids]))[0]) == BEGIN


def test_pockets_fused_tokens(tokenizer: Any, pocket_rule: MarkerRule) -> None:
    """Behind `<answer`: all tokens that begin with `>` and go on, as the tokenizer spells them."""
    texts = {i: tokenizer.decode([i]) for i in range(len(tokenizer))}
    fused = {i for i, text in texts.items() if text.startswith(">") and text != ">"}
    assert {'>"', "><", ">>"} <= {texts[i] for i in fused}
    assert forbidden(pocket_rule, len("<answer"), len(texts)) == fused
    for place in range(WHOLE - 1):
        assert not pocket_rule.binds(place)


def test_the_rule_and_the_plug_in_agree(tokenizer: Any, pocket_rule: MarkerRule) -> None:
    """Where the rule finds the marker whole, there the grammar begins, and nowhere else."""
    plugin = GrammarBegins(tokenizer, chat_template_kwargs={GATED_KEY: GATED_ANSWER})
    for texts in (
        ["They", " like", ".", "\n\n", "<", "answer", ">", "Stew"],
        ["a", " <", "answer", ">", "\n", "Stew"],
        ["<", "answer", '>"', "Stew", '"', "<", "answer", ">"],
        ["<", "<", "answer", "s", ">", "</", "answer", ">"],
        ["Ça va 🦊", "<answer>", "x"],
    ):
        ids = [i for text in texts for i in tokenizer.encode(text, add_special_tokens=False)]
        for end in range(1, len(ids) + 1):
            found = pocket_rule.follow(BEGIN, ids[:end]) == WHOLE
            begun = any(
                plugin.is_reasoning_end_streaming(ids[:n], [ids[n - 1]]) for n in range(1, end + 1)
            )
            assert found == begun, (texts, end)
