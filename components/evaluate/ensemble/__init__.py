"""Ensemble rules and their selection on validation slices."""
