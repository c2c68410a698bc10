"""Evaluation: what a persona costs in correctness and what it gives, for any endpoint."""
