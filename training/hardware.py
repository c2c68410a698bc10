"""Hardware: whether what a configuration asks for is there, seen before a run is begun."""

from __future__ import annotations

import importlib.util

from training.config import Config, ConfigInvalid, DualGrpoConfig


def require_hardware(config: Config) -> None:
    """See that there is a GPU, and a vLLM, where the configuration means one.

    Raises:
        ConfigInvalid: there is none.
    """
    import torch

    if not config.use_cpu and not torch.accelerator.is_available():
        raise ConfigInvalid("no GPU here; set use_cpu = true, or train where one is")
    samples_by_vllm = isinstance(config, DualGrpoConfig) and config.generation != "transformers"
    if samples_by_vllm and importlib.util.find_spec("vllm") is None:
        raise ConfigInvalid(
            'generation: no vLLM in this environment; "transformers" samples without one'
        )
