"""The pipelines: their definition, presets, compilation, local run and submission."""
