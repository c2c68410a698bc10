"""The gateway: an OpenAI-compatible front for a PersonaDual engine, and the `personadual` command.

main      the wiring: assembles the rest
http      the edge, routes, and what they read and write
chat      one chat request, from its plan to the reply
access    who calls, within which limits, and what policy leaves to a request
personas  where they live, and the cache before it
redis     the store of personas, keys and quotas
shadow    some answers given again without the persona, and compared
tracing   spans, where they are wished for
console   the page at `/`
serve     Redis, engine and gateway as children of one process
commands  what `personadual` does besides, a module each; `cli` brings them together

`settings`, `schemas`, `errors`, `metrics` and `logs` are used by several of these.
"""
