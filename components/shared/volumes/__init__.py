"""Volumes: reading NIfTI within bounds, finding the specimen, sampling planes."""
