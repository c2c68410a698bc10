"""What a GRPO run of two steps on the tiny model needs, wherever it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trl import GRPOConfig


def tiny_grpo(out: Path, **named: Any) -> GRPOConfig:
    """Groups of four, two steps, in full precision on a CPU."""
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=str(out),
        num_generations=4,
        max_steps=2,
        beta=0.04,
        use_bias_correction_kl=False,
        scale_rewards="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        **named,
    )
