"""The gateway: an OpenAI-compatible front for a PersonaDual engine, and the `personadual` command.

main (wiring) → routes → chat (use case) → personas, served, replies, metrics, settings, errors.
"""
