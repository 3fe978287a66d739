"""Synthetic specimens with known truth: the embedded default input."""
