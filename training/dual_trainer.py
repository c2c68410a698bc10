"""DualGRPO on TRL's GRPOTrainer: three private seams, which call super and edit the result.

1. `_generate_single_turn`: half of a group is forced to each tag.
2. `_calculate_rewards`: the gathered rewards are kept.
3. `_generate_and_score_completions`: the advantages become DualGRPO's, one per token, which
   `_compute_loss` takes as it is.

The seams belong to TRL 1.16 (`tests/test_dual_grpo.py` fails loudly when they change).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from model.mode import Mode, TagIds
from training.advantage import (
    Advantage,
    behaviour_weight,
    cap_reference,
    dual_advantage,
    expand_to_tokens,
    group_stats,
)
from training.credit import DualAdvantageConfig
from training.ordered_trainer import OrderedGRPOTrainer
from training.rollouts import force, join, mode_of, plan_modes


class DualGRPOTrainer(OrderedGRPOTrainer):
    """A GRPOTrainer whose rollouts open with a forced tag, half a group with each."""

    def __init__(self, *, tag_ids: TagIds, dual: DualAdvantageConfig, **options: Any) -> None:
        super().__init__(**options)
        self._tag_ids = tag_ids
        self._dual = dual
        self._rewards_per_func: Tensor | None = None
        plan_modes(0, 0, self.num_generations)  # refuses an odd group before anything is generated

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float | None]] | None]:
        first = self.accelerator.process_index * len(prompt_ids)
        modes = plan_modes(first, len(prompt_ids), self.num_generations)
        # A vLLM server is asked for `num_generations` replies of every such prompt at once: half a
        # group shares its tag, a whole group does not.
        with self._room_for_the_tag():
            sampled, logps = super()._generate_single_turn(
                force(prompt_ids, modes, self._tag_ids),
                images,
                multimodal_fields,
                num_generations // 2,
                has_tool_images,
            )
        return join(self._tag_ids, modes, sampled, logps, self.max_completion_length)

    @contextlib.contextmanager
    def _room_for_the_tag(self) -> Iterator[None]:
        """Sample as many tokens less as the longer tag has: a response holds its tag, and no mode
        has more room than the other."""
        room = self.max_completion_length - self._tag_ids.longest
        holder, name = (
            (self.vllm_generation, "max_completion_length")
            if self.use_vllm
            else (self.generation_config, "max_new_tokens")
        )
        whole = getattr(holder, name)
        setattr(holder, name, room)
        try:
            yield
        finally:
            setattr(holder, name, whole)

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        rewards: Tensor = super()._calculate_rewards(
            inputs, prompts, completions, completion_ids_list
        )
        self._rewards_per_func = rewards
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mask = output["completion_mask"]
        lengths = mask.sum(dim=1)
        ids = [row[:n] for row, n in zip(output["completion_ids"].tolist(), lengths, strict=True)]
        modes = [mode_of(row, self._tag_ids) for row in ids]
        own = torch.tensor(
            [mode is Mode.PERSONALIZED for mode in modes], device=mask.device, dtype=torch.bool
        )
        rewards = self._gathered_rewards()
        is_personalized = self.accelerator.gather(own)
        # Before TRL shuffles (in `_prepare_inputs`), gathered rows are in the sampler's order.
        group_ids = torch.arange(len(rewards), device=mask.device) // self.num_generations
        gathered = dual_advantage(rewards, is_personalized, group_ids, self._dual.variant)
        first = self.accelerator.process_index * len(modes)
        local = slice(first, first + len(modes))
        prefix = torch.tensor(
            [len(self._tag_ids[mode]) if mode else 0 for mode in modes], device=mask.device
        )
        policy = self._policy_logps(output, prefix) if self._reads_policy else None
        output["advantages"] = expand_to_tokens(
            Advantage(gathered.total[local], gathered.intra[local], gathered.inter[local]),
            prefix,
            lengths,
            mask.size(1),
            self._dual,
            self._behaviour(policy, own) if self._dual.prefix_credit == "behaviour" else None,
        )
        if policy is not None and "ref_per_token_logps" in output:
            is_prefix = torch.arange(mask.size(1), device=mask.device) < prefix[:, None]
            output["ref_per_token_logps"] = cap_reference(
                output["ref_per_token_logps"],
                policy,
                is_prefix,
                self._dual.kl_cap,
                self._dual.prefix_kl,
            )
        self._log_groups(rewards, is_personalized, group_ids, gathered)
        return output

    @property
    def _reads_policy(self) -> bool:
        edits_reference = self.beta != 0.0 and self._dual.prefix_kl != "same"
        return self._dual.prefix_credit == "behaviour" or edits_reference

    def _gathered_rewards(self) -> Tensor:
        assert self._rewards_per_func is not None
        matrix = self._rewards_per_func
        rewards: Tensor = (matrix * self.reward_weights.to(matrix.device)).nansum(dim=1)
        rewards[matrix.isnan().all(dim=1)] = torch.nan
        return rewards

    def _policy_logps(self, output: dict[str, Any], prefix: Tensor) -> Tensor:
        """Log-probabilities of the tag's tokens under the policy, `(B, T)`, no gradient.

        `prefix` holds the length of each row's tag, `(B,)`; what stands behind means nothing.

        With vLLM they are known already. Else the rows of a group differ in what follows the tag,
        which is not looked at: each prompt is read twice, once with each tag, and not once per
        rollout.
        """
        known: Tensor | None = output.get("old_per_token_logps")
        if known is not None:
            return known
        width, height = self._tag_ids.longest, output["prompt_ids"].size(1)
        is_tag = torch.arange(width, device=prefix.device) < prefix[:, None]
        mask = torch.cat([output["prompt_mask"], is_tag.to(output["prompt_mask"].dtype)], dim=1)
        ids = torch.cat([output["prompt_ids"], output["completion_ids"][:, :width]], dim=1) * mask
        both, place = torch.unique(torch.stack([ids, mask], 1), dim=0, return_inverse=True)
        # Under FSDP all processes must do equally many forward passes.
        count = int(self.accelerator.gather(place.new_tensor([len(both)])).max())
        both = torch.cat([both, both[:1].expand(count - len(both), -1, -1)])
        with torch.no_grad():
            logps, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                both[:, 0],
                both[:, 1],
                ids.size(1) - height,
                batch_size=self.args.per_device_train_batch_size,
            )
        found: Tensor = logps.new_zeros(output["completion_ids"].shape)
        found[:, : logps.size(1)] = logps[place]
        return found

    def _behaviour(self, policy: Tensor | None, own: Tensor) -> Tensor:
        """The weight of each row's mode, from the token at the parting index.

        Along the shared opening both modes have the same tokens, and behind the parting a tag is
        all but certain, so the token there is the choice. Its rival has what is left: the gate
        allows nothing else.
        """
        assert policy is not None
        taken = policy[:, self._tag_ids.parting].float()
        rival = torch.log1p(-taken.exp().clamp(max=1 - 1e-6))
        general, personalized = torch.where(own, rival, taken), torch.where(own, taken, rival)
        return behaviour_weight(general, personalized, own)

    def _log_groups(
        self, rewards: Tensor, is_personalized: Tensor, group_ids: Tensor, advantage: Advantage
    ) -> None:
        stats = group_stats(rewards, is_personalized, group_ids)
        for name in stats.__dataclass_fields__:
            self._metrics["train"][f"dual/{name}"].append(getattr(stats, name))
        # TRL has logged its own advantages of these rows; the completions table shows ours.
        logged = self._logs["advantages"]
        for _ in range(min(len(logged), len(rewards))):
            logged.pop()
        logged.extend(advantage.total.tolist())
