"""Shadows: what a persona changes in answers, measured beside the traffic."""
