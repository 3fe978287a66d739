"""The steps of the pipeline, a folder each, and what they share."""

__version__ = "0.1.0"
