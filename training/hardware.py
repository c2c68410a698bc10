"""Hardware: whether what a configuration asks for is there, seen before a run is begun."""

from __future__ import annotations

import importlib.util

from training import processes
from training.config import Config, ConfigInvalid, DualGrpoConfig


def require_hardware(config: Config) -> None:
    """See that there is a GPU, and a vLLM, where the configuration means one.

    Raises:
        ConfigInvalid: there is none, or there are several GPUs for one process.
    """
    import torch

    if not config.use_cpu and not torch.accelerator.is_available():
        raise ConfigInvalid("no GPU here; set use_cpu = true, or train where one is")
    if not config.use_cpu:
        require_processes(torch.accelerator.device_count(), are_launched=processes.are_launched())
    samples_by_vllm = isinstance(config, DualGrpoConfig) and config.generation != "transformers"
    if samples_by_vllm and importlib.util.find_spec("vllm") is None:
        raise ConfigInvalid(
            'generation: no vLLM in this environment; "transformers" samples without one'
        )


def require_processes(gpus: int, *, are_launched: bool) -> None:
    """See that several GPUs have a process each. One process would be given all of them, by an
    `nn.DataParallel` that TRL refuses.

    Raises:
        ConfigInvalid: they have not.
    """
    if gpus > 1 and not are_launched:
        raise ConfigInvalid(
            f"{gpus} GPUs here and one process: start one for each (torchrun --nproc_per_node"
            f" {gpus}, or accelerate launch), or show it one (CUDA_VISIBLE_DEVICES=0)"
        )
