"""Predictors: a SavedModel in this process, or TensorFlow Serving over HTTP."""
