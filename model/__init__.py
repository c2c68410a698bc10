"""The shared words of serving and training: persona, mode, tag, prompt, reply, decision, card.

Everything here is pure (standard library, and pydantic where a file is read), except the engine's
HTTP adapter (`model.vllm`), the vLLM plug-in (`model.gate`) and the builder of the default
checkpoint (`model.pocket`). Nothing here imports `app` or `training`.
"""
