"""The training step: one backbone on segmented slices."""
