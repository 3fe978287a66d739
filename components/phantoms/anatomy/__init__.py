"""Synthetic fossils: parametric forms as distance fields."""
