"""Chooses the ensemble on validation, measures it on test, judges it, and exports it as one SavedModel."""
