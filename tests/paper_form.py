"""The paper's own prompt, as docs/checkpoints.md offers it."""

from __future__ import annotations

from model.prompt import PromptForm

PAPER_FORM = PromptForm("user", "I am {persona}, my question is:\n{question}")
