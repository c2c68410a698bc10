"""Engines to try things on: the real vLLM, an honest fake of it, and small HTTP clients.

Tests, benchmarks and the check of the images use them; no distribution has them.
"""
