"""Pocket: the default checkpoint, built from a package of weights and this folder's adapter."""

NAME = "pocket"
