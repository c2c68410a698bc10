"""Two steps of DualGRPO, sampled by vLLM in this process: `colocate_worker.py MODEL OUT` prints, as
one line of JSON, what each step's rollouts were."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig

from model.card import Card
from training.config import DualGrpoConfig
from training.credit import DualAdvantageConfig
from training.dual_grpo import arguments
from training.dual_trainer import DualGRPOTrainer
from training.probe import read_tag_ids
from training.rollouts import mode_of


class Watched(DualGRPOTrainer):
    """Keeps what is known of each step's rollouts."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.steps: list[dict[str, Any]] = []
        self._passes = 0

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **named: Any) -> Any:
        self._passes += 1
        return super()._get_per_token_logps_and_entropies(*arguments, **named)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._passes = 0
        output = super()._generate_and_score_completions(inputs)
        modes = [mode_of(row, self._tag_ids) for row in output["completion_ids"].tolist()]
        lengths = torch.tensor([len(self._tag_ids[mode]) if mode else 0 for mode in modes])
        width = output["completion_ids"].size(1)
        is_tag = torch.arange(width) < lengths[:, None]
        ratio = output["importance_sampling_ratio"]
        of_tags = ratio[is_tag] if ratio.shape == is_tag.shape else ratio.new_full((1,), torch.nan)
        self.steps.append(
            {
                "modes": modes,
                "lengths": output["completion_mask"].sum(1).tolist(),
                "tags_have_no_sampling_logp": bool(
                    output["sampling_per_token_logps"][is_tag].isnan().all()
                ),
                "ratio_of_tags": [of_tags.min().item(), of_tags.max().item()],
                "ratio_is_per_token": ratio.shape == is_tag.shape,
                "passes": self._passes,
            }
        )
        return output


def main(model: Path, out: Path) -> None:
    torch.set_num_threads(1)
    config = DualGrpoConfig(
        model=model,
        data=model,
        out=out,
        use_cpu=True,
        generation="colocate",
        rollouts=4,
        prompts=1,
        batch_size=4,
        max_steps=2,
        max_prompt=64,
        max_response=24,
    )
    settings = {**arguments(config, Card()), "report_to": [], "save_strategy": "no"}
    trainer = Watched(
        tag_ids=read_tag_ids(AutoTokenizer.from_pretrained(model), Card()),
        dual=DualAdvantageConfig(prefix_credit="behaviour", prefix_kl="capped"),
        model=str(model),
        reward_funcs=[lambda completions, **_: [float(len(text)) for text in completions]] * 2,
        args=GRPOConfig(**settings),
        train_dataset=Dataset.from_list([{"prompt": f"Question {n}?"} for n in range(8)]),
    )
    # vLLM for CPUs repacks its weights when it reads them, and takes no others: these two steps
    # are sampled by the first ones.
    trainer.vllm_generation.sync_weights = lambda: None
    trainer.train()
    sys.stdout.write(json.dumps(trainer.steps) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
