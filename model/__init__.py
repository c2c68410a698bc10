"""The shared words of serving and training: persona, mode, tag, prompt, reply, decision, card.

Everything here is pure (standard library, and pydantic where a file is read), except:

vllm     the engine's HTTP adapter
gate     the vLLM plug-in
console  how commands print and end
export   an adapter merged into its base, by torch
pocket   the builder of the default checkpoint

Nothing here imports `app` or `training`.
"""
