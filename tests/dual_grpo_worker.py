"""One of two processes that train together: `torchrun -m tests.dual_grpo_worker MODEL OUT`.

A group of four rollouts lies across both, two rows in each. What each process saw goes to
`OUT/RANK.json`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(model: Path, out: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer

    from model.card import Card
    from tests.tiny_grpo import tiny_grpo
    from training.credit import DualAdvantageConfig
    from training.dual_trainer import DualGRPOTrainer
    from training.probe import read_tag_ids
    from training.rollouts import mode_of

    tag_ids = read_tag_ids(AutoTokenizer.from_pretrained(model), Card())
    seen: list[dict[str, Any]] = []

    class Watched(DualGRPOTrainer):
        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            output = super()._generate_and_score_completions(inputs)
            modes = [mode_of(row, tag_ids) for row in output["completion_ids"].tolist()]
            last = [
                len(tag_ids[mode]) if mode else 0  # the first token behind the tag
                for mode in modes
            ]
            seen.append(
                {
                    "prompts": [row["prompt"] for row in inputs],
                    "modes": modes,
                    "behind": [
                        row[place].item()
                        for row, place in zip(output["advantages"], last, strict=True)
                    ],
                }
            )
            return output

    def reward(completion_ids: list[list[int]], worth: list[float], **_: Any) -> list[float]:
        """Personalised earns what the question is worth, general nothing."""
        return [
            value * (mode_of(ids, tag_ids) == "personalized")
            for ids, value in zip(completion_ids, worth, strict=True)
        ]

    trainer = Watched(
        tag_ids=tag_ids,
        dual=DualAdvantageConfig(prefix_credit="behaviour", prefix_kl="capped"),
        model=str(model),
        reward_funcs=reward,
        args=tiny_grpo(out, per_device_train_batch_size=2, max_completion_length=12),
        train_dataset=Dataset.from_list(
            [{"prompt": f"{'Long ' * n}question?", "worth": float(n + 1)} for n in range(4)]
        ),
    )
    trainer.train()
    gaps = [entry["dual/gap"] for entry in trainer.state.log_history if "dual/gap" in entry]
    rank = os.environ["RANK"]
    (out / f"{rank}.json").write_text(json.dumps({"seen": seen, "gaps": gaps}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
