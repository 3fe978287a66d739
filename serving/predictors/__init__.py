"""Predictors: SavedModels in this process, or TensorFlow Serving over HTTP."""
