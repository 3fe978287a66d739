"""Synthetic specimens with known masks: the embedded default data."""
