"""DualGRPO on the real TRL: its seams, and two steps on a random model with the real tokenizer."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from model.card import Card
from model.mode import Mode, TagIds, Tags
from tests.tiny_grpo import tiny_grpo
from training.config import DualGrpoConfig
from training.credit import DualAdvantageConfig
from training.dual_grpo import arguments
from training.rollouts import mode_of

CAP = 0.25


def test_the_seams_of_trl_are_where_they_were() -> None:
    """Private methods: a new TRL may change them, and this says so before a training does."""
    import trl
    from trl import GRPOTrainer
    from trl.trainer.utils import RepeatSampler

    assert trl.__version__.startswith("1.16.")
    expected = {
        "_generate_single_turn": [
            "prompt_ids",
            "images",
            "multimodal_fields",
            "num_generations",
            "has_tool_images",
        ],
        "_calculate_rewards": ["inputs", "prompts", "completions", "completion_ids_list"],
        "_generate_and_score_completions": ["inputs"],
    }
    for name, parameters in expected.items():
        found = list(inspect.signature(getattr(GRPOTrainer, name)).parameters)
        assert found == ["self", *parameters], name
    made = inspect.getsource(GRPOTrainer.__init__)
    assert '"max_new_tokens": self.max_completion_length' in made
    assert "max_completion_length=self.max_completion_length" in made
    sampler = inspect.signature(RepeatSampler.__init__)
    names = ("mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
    assert list(sampler.parameters) == ["self", "data_source", *names]
    loss = inspect.getsource(GRPOTrainer._compute_loss)
    assert "advantages.dim() == 1" in loss, "the loss takes one advantage per token no more"


@pytest.fixture(scope="module")
def tag_ids(tiny: Path) -> TagIds:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
    tags = Tags()
    return TagIds(*(tuple(tokenizer(tags[mode])["input_ids"]) for mode in Mode))


@pytest.mark.parametrize(
    "dual",
    [
        DualAdvantageConfig(),
        DualAdvantageConfig(
            prefix_credit="behaviour", prefix_kl="capped", kl_cap=CAP, inter_on="prefix"
        ),
        DualAdvantageConfig(variant="plain", prefix_weight=1.0),
    ],
    ids=lambda dual: f"{dual.variant}-{dual.prefix_credit}",
)
def test_two_steps(tiny: Path, tag_ids: TagIds, dual: DualAdvantageConfig, tmp_path: Path) -> None:
    """Half of each group has each tag, advantages are per token, and a rigged reward is felt."""
    import torch
    from datasets import Dataset

    from training.dual_trainer import DualGRPOTrainer

    seen: list[dict[str, Any]] = []

    class Watched(DualGRPOTrainer):
        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            output = super()._generate_and_score_completions(inputs)
            ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
            mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
            width = output["completion_ids"].size(1)
            with torch.no_grad():
                for name, model in (("policy", self.model), ("reference", self.ref_model)):
                    logps, _, _ = self._get_per_token_logps_and_entropies(model, ids, mask, width)
                    output[name] = logps
            seen.append(dict(output))
            return output

    def reward(completion_ids: list[list[int]], **_columns: Any) -> list[float]:
        return [float(mode_of(ids, tag_ids) is Mode.PERSONALIZED) for ids in completion_ids]

    trainer = Watched(
        tag_ids=tag_ids,
        dual=dual,
        model=str(tiny),
        reward_funcs=reward,
        args=tiny_grpo(
            tmp_path,
            per_device_train_batch_size=8,
            max_completion_length=16,
            learning_rate=1e-3,
        ),
        train_dataset=Dataset.from_list([{"prompt": f"Question {n}?"} for n in range(8)]),
    )
    trainer.train()
    assert len(seen) == 2
    for output in seen:
        ids, mask = output["completion_ids"], output["completion_mask"]
        modes = [mode_of(row, tag_ids) for row in ids.tolist()]
        assert ids.size(1) <= 16, "the tag is part of the limit"
        assert sorted(modes) == [Mode.GENERAL] * 4 + [Mode.PERSONALIZED] * 4
        advantages = output["advantages"]
        assert advantages.shape == ids.shape
        assert torch.equal(advantages[mask == 0], torch.zeros_like(advantages[mask == 0]))
        for row, mode in zip(advantages, modes, strict=True):
            # Personalised earned 1 and general 0: r - mu_other is 1 and -1, by hand.
            sign = 1.0 if mode is Mode.PERSONALIZED else -1.0
            assert mode is not None
            tag, rest = row[0].item(), row[len(tag_ids[mode])].item()
            if dual.variant == "plain":
                assert (tag, rest) == pytest.approx((sign * 0.5, sign * 0.5))
            elif dual.prefix_credit == "paper":
                assert (tag, rest) == pytest.approx((sign * 2.0, sign * 1.0))
            else:
                assert rest == 0.0, "inter stays on the tag, and intra is 0 here"
        if dual.prefix_credit == "behaviour":
            is_behaviour_and_capped(output, [mode for mode in modes if mode], tag_ids)
    if dual.prefix_credit == "behaviour":
        last = seen[-1]
        assert (last["reference"] - last["policy"]).abs().max() > CAP, "the cap cut nothing"
    history = [entry for entry in trainer.state.log_history if "dual/gap" in entry]
    assert [entry["dual/gap"] for entry in history] == [1.0, 1.0]


def is_behaviour_and_capped(output: dict[str, Any], modes: list[Mode], tag_ids: TagIds) -> None:
    """The tag's advantage is weighted by the policy's own probability of it over a half, and its
    reference stays within the cap of the policy; what follows the tag keeps its reference."""
    import torch

    chosen = output["policy"][:, tag_ids.parting].exp()
    signs = torch.tensor([1.0 if mode is Mode.PERSONALIZED else -1.0 for mode in modes])
    assert torch.allclose(output["advantages"][:, 0], signs * 2.0 * chosen / 0.5, atol=1e-4)
    for row, mode in enumerate(modes):
        names = ("ref_per_token_logps", "reference", "policy")
        kept, free, own = (output[name][row] for name in names)
        bounded = free.clamp(own - CAP, own + CAP)
        length = len(tag_ids[mode])
        assert torch.allclose(kept[:length], bounded[:length], atol=1e-4)
        assert torch.equal(kept[length:], free[length:])


def test_equal_rewards_leave_the_choice_alone_whatever_the_answers_length(
    tiny: Path, tag_ids: TagIds, tmp_path: Path
) -> None:
    """No gap between the modes, the right general answers short, the right personalised ones long:
    what the loss says of the tags sums to nothing, in every weight of the model."""
    import torch
    from datasets import Dataset

    from training.advantage import dual_advantage, expand_to_tokens
    from training.dual_trainer import DualGRPOTrainer

    config = DualGrpoConfig(model=tiny, data=tiny, out=tmp_path, prompts=1, use_cpu=True)
    loss_type = arguments(config, Card())["loss_type"]
    trainer = DualGRPOTrainer(
        tag_ids=tag_ids,
        dual=DualAdvantageConfig(),
        model=str(tiny),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=tiny_grpo(tmp_path, per_device_train_batch_size=8, loss_type=loss_type),
        train_dataset=Dataset.from_list([{"prompt": "x"}]),
    )
    trainer.beta = 0.0
    rewards = torch.tensor([1.0, 1, 0, 0, 1, 1, 0, 0])
    is_personalized = torch.tensor([False] * 4 + [True] * 4)
    lengths = torch.tensor([12, 12, 40, 40, 30, 30, 40, 40])
    modes = [Mode.GENERAL] * 4 + [Mode.PERSONALIZED] * 4
    prefix = torch.tensor([len(tag_ids[mode]) for mode in modes])
    place = torch.arange(40)
    tokens = torch.full((8, 40), 5)
    for row, mode in enumerate(modes):
        tokens[row, : len(tag_ids[mode])] = torch.tensor(tag_ids[mode])
    advantage = dual_advantage(rewards, is_personalized, torch.zeros(8, dtype=torch.long))
    every = expand_to_tokens(advantage, prefix, lengths, 40, DualAdvantageConfig())
    mask = (place < lengths[:, None]).long()
    of_tags = torch.where(place < prefix[:, None], every, 0.0)
    assert of_tags.abs().max() > 0, "nothing is said of the tags: this shows nothing"
    inputs = {
        "prompt_ids": torch.full((8, 3), 7),
        "prompt_mask": torch.ones(8, 3, dtype=torch.long),
        "completion_ids": tokens * mask,
        "completion_mask": mask,
        "advantages": of_tags,
        "num_items_in_batch": mask.sum(),
    }
    trainer.compute_loss(trainer.model, inputs).backward()
    gradients = [one.grad for one in trainer.model.parameters() if one.grad is not None]
    assert gradients
    assert max(one.abs().max().item() for one in gradients) < 1e-6


def test_the_tags_probability_is_read_once_per_prompt_and_tag(
    tiny: Path, tag_ids: TagIds, tmp_path: Path
) -> None:
    """What it reads equals a pass over all whole rows, at a fraction of the rows."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig

    from training.dual_trainer import DualGRPOTrainer

    rows: list[tuple[int, int | None]] = []

    class Watched(DualGRPOTrainer):
        def _policy_logps(self, output: dict[str, Any], prefix: Any) -> Any:
            found = super()._policy_logps(output, prefix)
            ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
            mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
            with torch.no_grad():
                whole, _, _ = self._get_per_token_logps_and_entropies(
                    self.model, ids, mask, output["completion_ids"].size(1)
                )
            for row, wanted, length in zip(found, whole, prefix.tolist(), strict=True):
                assert length in {len(tag_ids[mode]) for mode in Mode}
                assert torch.allclose(row[:length], wanted[:length], atol=1e-4)
            return found

        def _get_per_token_logps_and_entropies(
            self, model: Any, ids: Any, *a: Any, **k: Any
        ) -> Any:
            rows.append((len(ids), k.get("batch_size")))
            return super()._get_per_token_logps_and_entropies(model, ids, *a, **k)

    trainer = Watched(
        tag_ids=tag_ids,
        dual=DualAdvantageConfig(prefix_credit="behaviour"),
        model=str(tiny),
        reward_funcs=lambda completions, **_: [float(len(text)) for text in completions],
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=16,
            num_generations=8,
            max_completion_length=16,
            max_steps=1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list([{"prompt": f"{'Long ' * n}question?"} for n in range(4)]),
    )
    trainer.train()
    assert min(rows) == (4, 16), "two prompts, two tags; in passes of the batch size"


def test_an_odd_group_is_refused(tiny: Path, tag_ids: TagIds, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import GRPOConfig

    from training.dual_trainer import DualGRPOTrainer

    with pytest.raises(ValueError, match="even number"):
        DualGRPOTrainer(
            tag_ids=tag_ids,
            dual=DualAdvantageConfig(),
            model=str(tiny),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=GRPOConfig(
                output_dir=str(tmp_path),
                per_device_train_batch_size=3,
                num_generations=3,
                use_cpu=True,
                bf16=False,
                report_to=[],
            ),
            train_dataset=Dataset.from_list([{"prompt": "x"}]),
        )
