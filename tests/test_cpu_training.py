"""What makes a training on a CPU quicker changes nothing of what it computes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from training import cpu

LABELLED = slice(3, 6)


@pytest.fixture
def computed(tiny: Path) -> Any:
    """The loss of a row of which three tokens are trained, what the first layer gets of it, and how
    the head brings its positions back into their row."""
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    def compute(**loading: str) -> tuple[float, Any, str]:
        model = AutoModelForCausalLM.from_pretrained(tiny, dtype="float32", **loading)
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
        ids = torch.arange(10, 18).unsqueeze(0)
        labels = torch.full_like(ids, -100)
        labels[:, LABELLED] = ids[:, LABELLED]
        found = model(input_ids=ids, labels=labels, fused_lm_head=True)
        found.loss.backward()
        gradient = model.base_model.layers[0].mlp.up_proj.weight.grad
        return found.loss.item(), gradient, found.log_probs.grad_fn.name()

    return compute


def test_loss_and_gradient_stay(computed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from trl.trainer import utils

    # The switch is the process's: another test may have set it, and it is put back behind this one.
    monkeypatch.setattr(utils, "_use_triton", lambda device: False)
    everywhere, gradient, filled = computed()
    cpu.prepare()
    there, other, scattered = computed(**cpu.EAGER)
    assert (filled, scattered) == ("MaskedFillBackward0", "MaskedScatterBackward0")
    assert there == pytest.approx(everywhere, rel=1e-5)
    torch.testing.assert_close(other, gradient, rtol=1e-3, atol=1e-6)


def test_the_switch_is_still_asked_where_positions_are_left_out() -> None:
    """A contract with TRL: nothing else asks it there."""
    from trl.trainer import utils

    asked = "_use_triton(hidden_states.device)"
    assert f"compact = {asked}" in inspect.getsource(utils.add_fused_lm_head)
    assert inspect.getsource(utils).count("_use_triton(") == 1
