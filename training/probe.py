"""The choice that a model would make by itself: log-odds of the modes, no tag forced."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from model.card import Card
from model.decision import sigmoid
from model.mode import Mode, TagIds
from training.cards import base_card
from training.config import Config
from training.items import load_items, messages, require_personas
from training.rows import Asked, as_evaluated, evaluated_conditions


def read_tag_ids(tokenizer: Any, card: Card) -> TagIds:
    """The ids of the card's tags, by the checkpoint's own tokenizer."""
    return TagIds.read(partial(tokenizer.encode, add_special_tokens=False), card.tags)


def parting_prompts(asked: Sequence[Asked], card: Card, tokenizer: Any) -> list[list[int]]:
    """Prompt ids of each item up to where the tags part."""
    tag_ids = read_tag_ids(tokenizer, card)
    prompts = []
    for one in asked:
        ids = tokenizer.apply_chat_template(
            messages(one.item, one.condition, card.prompt),
            add_generation_prompt=True,
            return_dict=True,
            **card.chat_template_kwargs,
        )["input_ids"]
        prompts.append([*ids, *tag_ids.general[: tag_ids.parting]])
    return prompts


def mode_log_odds(
    network: Any,
    prompts: Sequence[Sequence[int]],
    tag_ids: TagIds,
    *,
    batch: int = 8,
    note: Callable[[int], None] = lambda _read: None,
) -> list[float]:
    """`logp_personalized - logp_general` in nats at the end of each prompt; `note` hears how many
    were read."""
    import torch

    general, personalized = tag_ids.rivals()
    scores: list[float] = []
    for begin in range(0, len(prompts), batch):
        part = prompts[begin : begin + batch]
        width = max(map(len, part))
        # Padding stands in front, so that the last place is every row's own: positions are
        # relative in rotary embeddings, and the mask hides the rest.
        ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in part])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part])
        device = network.device
        # FSDP2 makes its whole weights here at first: inference tensors could not be trained.
        with torch.no_grad():
            logits = network(
                input_ids=ids.to(device), attention_mask=mask.to(device), logits_to_keep=1
            ).logits[:, -1]
        scores += (logits[:, personalized] - logits[:, general]).float().tolist()
        note(len(scores))
    return scores


@dataclass(frozen=True, slots=True)
class Probe:
    """Held-out prompts on which a training watches the un-forced choice."""

    prompts: list[list[int]]
    is_personalized: list[bool]
    tag_ids: TagIds

    def read(self, network: Any) -> dict[str, float]:
        """Mean raw probability of personalised mode, where it is right and where general is."""
        odds = mode_log_odds(network, self.prompts, self.tag_ids)
        found: dict[str, float] = {}
        for name, wanted in (("personal", True), ("factual", False)):
            ps = [
                sigmoid(score)
                for score, flag in zip(odds, self.is_personalized, strict=True)
                if flag is wanted
            ]
            if ps:
                found[f"mode/probability_{name}"] = sum(ps) / len(ps)
        return found


def open_probe(config: Config, tokenizer: Any) -> Probe | None:
    """The probe that a configuration asks for: drawn from its held-out file, as evaluation asks.

    Raises:
        DataInvalid: the file holds no items, or one lacks a persona.
    """
    if config.probe is None:
        return None
    card = base_card(config)
    items = load_items(config.probe)
    require_personas(items, config.probe, evaluated_conditions)
    asked = as_evaluated(items)
    random.Random(config.seed).shuffle(asked)
    asked = asked[: config.probe_items]
    return Probe(
        parting_prompts(asked, card, tokenizer),
        [one.mode is Mode.PERSONALIZED for one in asked],
        read_tag_ids(tokenizer, card),
    )
