"""The one name that both of vLLM's plug-in interfaces accept."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from vllm.exceptions import VLLMValidationError
from vllm.logger import init_logger
from vllm.v1.sample.logits_processor.interface import LogitsProcessor as InterfaceV1
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as InterfaceV2

from model.card import load_card
from model.decision import Dial
from model.errors import InvalidRequest
from model.gate.marker import MarkerRule
from model.gate.rule import TagRule
from model.gate.v1 import GateV1
from model.gate.v2 import GateV2
from model.mode import TagIds

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.sampling_params import SamplingParams

logger = init_logger("vllm.personadual")


class ModeGate(InterfaceV1, InterfaceV2):
    """Makes the gate that fits the model runner of this engine.

    vLLM has two interfaces and each loader refuses the other's classes, so this class belongs to
    both. It is never itself an instance: constructing it gives a `GateV1` or a `GateV2`.
    """

    def __new__(cls, vllm_config: VllmConfig, *rest: Any) -> Any:
        from vllm.tokenizers import cached_tokenizer_from_config

        card, warning = load_card(Path(vllm_config.model_config.model))
        if warning:
            logger.warning("%s", warning)
        is_v2 = vllm_config.use_v2_model_runner
        device = torch.device(rest[0].device if is_v2 else rest[0])
        tokenizer = cached_tokenizer_from_config(vllm_config.model_config)
        seed = vllm_config.model_config.seed + vllm_config.parallel_config.data_parallel_rank
        encode = partial(tokenizer.encode, add_special_tokens=False)
        rule = TagRule(TagIds.read(encode, card.tags), card.calibration, device, seed)
        # Without reasoning a grammar begins behind the tag, whose tokens are the gate's own.
        marker = MarkerRule(tokenizer.get_vocab(), device) if card.reasons else None
        logger.info("PersonaDual gate for model runner %s", "V2" if is_v2 else "V1")
        if not is_v2:
            return GateV1(rule, marker)
        drafting = vllm_config.speculative_config
        return GateV2(rule, rest[0], drafting.num_speculative_tokens if drafting else 0, marker)

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse wrong gate arguments at admission: the server answers 400 and names the field."""
        try:
            Dial.from_arguments(sampling_params.extra_args)
        except InvalidRequest as error:
            raise VLLMValidationError(error.message, parameter=error.field) from error
