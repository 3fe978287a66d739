"""The pipeline steps, one package each, and the code that they share."""

__version__ = "0.1.0"
