"""What a DualGRPO step costs beside a plain GRPO step of TRL: `python -m benchmarks.dual_grpo`.

Both trainers take turns in one process, on the same model, prompts and sizes; a reply has the full
length, its tag included, so that the work is the same. The ratio of the medians is what counts.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import tempfile
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from training import cpu
from training.cards import card_of
from training.checkpoints import lora
from training.credit import DualAdvantageConfig
from training.dual_trainer import DualGRPOTrainer
from training.items import load_items, messages
from training.probe import read_tag_ids
from training.rows import draw_condition

CREDITS = {
    "DualGRPO, paper": DualAdvantageConfig(),
    "DualGRPO, behaviour": DualAdvantageConfig(prefix_credit="behaviour", prefix_kl="capped"),
}


def main() -> None:
    options = read_options()
    if options.cpu:
        cpu.prepare()
    times: dict[str, list[float]] = {}
    for turn in range(options.turns + 1):
        for name in ["GRPO", *CREDITS]:
            found = steps(name, options)
            if turn:  # the first turn warms up
                times.setdefault(name, []).extend(found)
    plain = statistics.median(times["GRPO"])
    tokens = options.prompts * options.rollouts * options.response
    print(f"{options.prompts} prompts, {options.rollouts} rollouts, {options.response} tokens each")
    print(f"{'':24}{'s per step':>12}{'of GRPO':>10}{'tokens/s':>10}{'steps':>7}")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:24}{median:12.3f}{median / plain:10.3f}{tokens / median:10.0f}{len(found):7}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of this process, all trainers: {peak:.1f} GB")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(".personadual/models/untrained/pocket"))
    parser.add_argument("--data", type=Path, default=Path("training/pocket/data/calibration.jsonl"))
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--response", type=int, default=40)
    parser.add_argument("--steps", type=int, default=3, help="steps of each trainer in a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--gpu", dest="cpu", action="store_false")
    return parser.parse_args()


def steps(name: str, options: argparse.Namespace) -> list[float]:
    """Seconds of each step."""
    card = card_of(options.model)
    tokenizer = AutoTokenizer.from_pretrained(options.model)

    rng = random.Random(7)
    asked = [
        {"prompt": messages(item, draw_condition(item, rng), card.prompt)}
        for item in load_items(options.data)[: options.prompts * options.steps]
    ]
    forced = read_tag_ids(tokenizer, card).shortest if name in CREDITS else 0
    with tempfile.TemporaryDirectory() as folder:
        shared: dict[str, Any] = {
            "model": AutoModelForCausalLM.from_pretrained(
                options.model, dtype="float32", **(cpu.EAGER if options.cpu else {})
            ),
            "reward_funcs": lambda completions, **_: [
                float(n % 3) for n in range(len(completions))
            ],
            "args": GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=options.prompts * options.rollouts,
                num_generations=options.rollouts,
                max_completion_length=options.response,
                generation_kwargs={"min_new_tokens": options.response - forced},
                max_steps=options.steps,
                beta=0.04,
                scale_rewards="none",
                use_cpu=options.cpu,
                bf16=True,
                gradient_checkpointing=False,
                logging_steps=1,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
            ),
            "train_dataset": Dataset.from_list(asked),
            "processing_class": tokenizer,
            "peft_config": lora(16),
        }
        if name == "GRPO":
            trainer: Any = GRPOTrainer(**shared)
        else:
            trainer = DualGRPOTrainer(
                tag_ids=read_tag_ids(tokenizer, card), dual=CREDITS[name], **shared
            )
        trainer.train()
    return [entry["step_time"] for entry in trainer.state.log_history if "step_time" in entry]


if __name__ == "__main__":
    main()
