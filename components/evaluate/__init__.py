"""The evaluation step: model selection, measurement on test specimens, gate, and export of one SavedModel."""
