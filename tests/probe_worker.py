"""One of two processes that share a model by FSDP2: `torchrun -m tests.probe_worker MODEL`.

Reads the un-forced choice before and behind a training step, as a run's probe does.
"""

from __future__ import annotations

import sys


def main(model: str) -> None:
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from model.card import Card
    from training.probe import mode_log_odds, read_tag_ids

    tag_ids = read_tag_ids(AutoTokenizer.from_pretrained(model), Card())
    mesh = init_device_mesh("cpu", (2,))
    network = AutoModelForCausalLM.from_pretrained(model)
    for layer in network.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    ids = torch.arange(8).unsqueeze(0)
    read = []
    for _ in range(2):
        read.append(mode_log_odds(network, [[5, 6, 7]], tag_ids))
        network(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.distributed.destroy_process_group()
    assert read[0] != read[1], "nothing was trained"


if __name__ == "__main__":
    main(sys.argv[1])
