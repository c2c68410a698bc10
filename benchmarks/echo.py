"""An engine that answers with what it was sent, so that whoever asked can check every reply.

    python -m benchmarks.echo PORT

The last message is JSON and says how to behave: `lean` is the mode that the model would take,
`delay_s` what each token takes. It is the testbed's fake of vLLM, in a process of its own.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import orjson

from testbed.fake_engine import FakeEngine, Script

OPENING = "So.\n\n<answer>"
LOGPROBS = {"general": (-0.25, -3.0), "personalized": (-3.0, -0.25)}


def read_by(body: dict[str, Any]) -> str:
    """Every message as its role and text: what the model had before it."""
    read = [[message["role"], message["content"]] for message in body["messages"]]
    return OPENING + orjson.dumps(read).decode()


def script_for(body: dict[str, Any]) -> Script:
    wish = orjson.loads(body["messages"][-1]["content"])
    delay_s = wish.get("delay_s", 0.0)
    return Script(
        answer_to=read_by,
        logprobs=LOGPROBS[wish["lean"]],
        delay_s=delay_s,
        is_burst=not delay_s and wish["number"] % 2 == 0,
    )


def main(port: int) -> None:
    engine = FakeEngine(port)

    def choose(body: dict[str, Any]) -> Script:
        engine.script.seen.clear()
        is_greeting = body["messages"][-1]["content"] == "-"
        return Script() if is_greeting else script_for(body)

    engine.script.choose = choose
    engine.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
