"""The gate: our vLLM plug-in, which opens every gated reply with a tag and takes the decision.

`--logits-processors model.gate:ModeGate` fits both of vLLM's plug-in interfaces. `rule` (the tag)
and `marker` (where a grammar waits for the answer) are pure tensor code; `v1` and `v2` fit them to
the two model runners; `plugin` is the one name. Importing this package imports vLLM only when
`ModeGate` is asked for.
"""

from __future__ import annotations

from typing import Any

QUALIFIED_NAME = "model.gate:ModeGate"


def __getattr__(name: str) -> Any:
    if name == "ModeGate":
        from model.gate.plugin import ModeGate

        return ModeGate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
